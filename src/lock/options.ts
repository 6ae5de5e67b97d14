/** The options that all guards share: their defaults, and how they are checked. */

import type { LockCache } from '../cache/contract.ts';
import { asLockCache, type Cache } from '../cache/registry.ts';
import { type OnEvent, Teller } from '../events/events.ts';

/** The options of everything that takes a lock. */
export interface LeaseOptions {
  /** Where the lock is kept: a lock cache, a store with `get`, `set` and `delete`, or a name in {@link caches}. */
  readonly cache?: Cache | string;
  /** Locks of one scope and one cache exclude each other. */
  readonly scope?: string;
  /**
   * The lease: how long a holder that died blocks others, in whole ms, 10 or more. It is renewed while the work
   * runs, so it need not be as long as the work.
   * @defaultValue 30 000; of a job its worker's `lockDuration`
   */
  readonly ttl?: number;
  /**
   * How long the key stays held after the work succeeded, in whole ms: a deduplication window. `0` lets go at once.
   * @defaultValue 0
   */
  readonly keepFor?: number;
  /**
   * How long the lock is renewed at most, in whole ms, 10 or more, so that work that hangs does not hold its key for ever.
   * Then its `signal` aborts, and the lease is left to end: after another `ttl` at most others are let in.
   * @defaultValue no bound
   */
  readonly maxHold?: number;
  /**
   * Is told what happens to these locks: a {@link LockEvent} each. What it throws becomes a warning, and harms nothing. The
   * diagnostics channels `bullmq-once:acquired` and so on tell of all locks of the process.
   */
  readonly onEvent?: OnEvent;
}

export const DEFAULTS: Required<Omit<LeaseOptions, 'cache' | 'onEvent'>> = {
  scope: 'default',
  ttl: 30_000,
  keepFor: 0,
  maxHold: Number.POSITIVE_INFINITY,
};

/** A lease shorter than this is over before an answer about it could be trusted. */
const SHORTEST_TTL = 10;

/** {@link LeaseOptions}, checked. What is absent depends on where the lock is taken. */
export interface CheckedLeaseOptions {
  readonly cache: LockCache | string | undefined;
  readonly scope: string | undefined;
  readonly ttl: number | undefined;
  readonly keepFor: number;
  readonly maxHold: number;
  readonly teller: Teller;
}

/**
 * Checks what is known of options where they are written.
 * @param of - whose options they are, for errors.
 * @param others - the names of the options beyond {@link LeaseOptions}.
 * @throws TypeError an option is unknown, or its value is not one of those that it takes.
 */
export function checkLeaseOptions(
  options: LeaseOptions,
  of: string,
  others: readonly string[],
): CheckedLeaseOptions {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`${of}: the options must be an object, not ${show(options)}`);
  }
  const known = ['cache', 'scope', 'ttl', 'keepFor', 'maxHold', 'onEvent', ...others];
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new TypeError(`${of}: there is no option '${name}'; there are: ${known.join(', ')}`);
    }
  }
  const { cache, scope, ttl, keepFor = DEFAULTS.keepFor, maxHold = DEFAULTS.maxHold } = options;
  if (scope !== undefined) checkText(scope, of, 'scope');
  if (ttl !== undefined) checkMs(ttl, of, 'ttl', SHORTEST_TTL);
  checkMs(keepFor, of, 'keepFor', 0);
  if (maxHold !== DEFAULTS.maxHold) checkMs(maxHold, of, 'maxHold', SHORTEST_TTL);
  const teller = tellerFrom(options.onEvent, of);
  return { cache: checkCache(cache, of), scope, ttl, keepFor, maxHold, teller };
}

/** @throws TypeError the value is no text, or empty. */
export function checkText(value: unknown, of: string, option: string): void {
  if (typeof value === 'string' && value !== '' && value.isWellFormed()) return;
  throw new TypeError(`${of}: option '${option}' must be a text that is not empty, not ${show(value)}`);
}

/** @throws TypeError the value is neither true nor false. */
export function checkFlag(value: unknown, of: string, option: string): void {
  if (typeof value === 'boolean') return;
  throw new TypeError(`${of}: option '${option}' must be true or false, not ${show(value)}`);
}

/**
 * @param others - what else it may be, for the error.
 * @throws TypeError the value is no whole number of ms, or out of bounds.
 */
export function checkMs(value: unknown, of: string, option: string, least: number, others?: string): void {
  if (Number.isSafeInteger(value) && (value as number) >= least) return;
  throw new TypeError(
    `${of}: option '${option}' must be a whole number of milliseconds, ${least} or more,${others ? ` or ${others},` : ''} ` +
      `not ${show(value)}`,
  );
}

function tellerFrom(onEvent: OnEvent | undefined, of: string): Teller {
  if (onEvent === undefined || typeof onEvent === 'function') return new Teller(onEvent);
  throw new TypeError(`${of}: option 'onEvent' must be a function, not ${show(onEvent)}`);
}

function checkCache(cache: Cache | string | undefined, of: string): LockCache | string | undefined {
  if (cache === undefined) return undefined;
  if (typeof cache !== 'string') return asLockCache(cache, `${of}: option 'cache'`);
  checkText(cache, of, 'cache');
  return cache;
}

/** A value, for an error. */
export function show(value: unknown): string {
  return typeof value === 'string'
    ? `'${value}'`
    : typeof value === 'object' && value !== null
      ? 'an object'
      : String(value);
}
