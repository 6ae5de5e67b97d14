/** The options of the guard: each round begins with one of these. */

import type { Random } from './random.ts';

/** The ttl of all locks, in ms. */
export const TTL = 1000;

const OPTIONS: readonly object[] = [
  {},
  { dedupeFor: 300 },
  { raiseIfLock: true },
  { holdThroughRetries: true },
  { whenLocked: { waitFor: TTL } },
  { whenLocked: { delay: 200, limit: 5 } },
  { whenLocked: 'in-order' },
  { whenLocked: 'in-order', holdThroughRetries: true },
  { whenLocked: 'in-order', concurrency: 2 },
  { whenLocked: 'keep-last' },
  { whenLocked: 'replace' },
  { whenLocked: 'share' },
  { whenLocked: 'share', dedupeFor: 300 },
];

export interface GuardOptions {
  readonly key: string;
  readonly ttl: number;
  readonly scope?: string;
  readonly [option: string]: unknown;
}

/** @param scope - which the locks of several queues share. */
export function chooseOptions(random: Random, scope?: string): GuardOptions {
  return { key: 'k-{key}', ttl: TTL, ...(scope !== undefined && { scope }), ...random.oneOf(OPTIONS) };
}

/** What the next version of the workers has: another strategy now and then, and another ttl. The key stays what it is. */
export function changeOptions(random: Random, options: GuardOptions): GuardOptions {
  const ttl = random.between(TTL, 2 * TTL);
  return { ...(random.chance(0.5) ? options : chooseOptions(random, options.scope)), ttl };
}
