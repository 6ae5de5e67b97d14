/** The options of everything that acquires a lock. */

import type { LockCache } from '../cache/contract.ts';
import { type Cache, cacheLike } from '../cache/registry.ts';
import { ms, optional, type Parser, show, text, withDefault } from '../core/validation.ts';
import { Emitter, type OnEvent } from '../events/emitter.ts';

/** Options of everything that acquires a lock. */
export interface LeaseOptions {
  /** Where the lock is kept: a lock cache, a store with `get`, `set` and `delete`, or a name in {@link caches}. */
  readonly cache?: Cache | string;
  /**
   * Locks of one scope and one cache exclude each other.
   * @defaultValue 'default'
   */
  readonly scope?: string;
  /**
   * The lease: how long a holder that crashed blocks others, in whole ms, 10 or more. It is renewed while the work runs, so
   * it need not be as long as the work.
   * @defaultValue 30 000; of a job its worker's `lockDuration`
   */
  readonly ttl?: number;
  /**
   * How long the key stays held, as done, after the work succeeded, in whole ms: a deduplication window. `0`: the key is free
   * at once.
   * @defaultValue 0
   */
  readonly dedupeFor?: number;
  /**
   * How long the lock is renewed at most, in whole ms, 10 or more, so that work that hangs does not hold its key for ever.
   * Then its `signal` aborts and the lease expires: after another `ttl` at most the key is free.
   * @defaultValue no bound
   */
  readonly maxHold?: number;
  /**
   * How many may hold the key at once: a whole number, 1 to 1000. All that acquire a key should have the same number; where one has
   * a lower one, it waits until fewer hold the key.
   * @defaultValue 1
   */
  readonly concurrency?: number;
  /**
   * Called with every event of these locks. What it throws becomes a warning, and harms nothing. The diagnostics channels
   * `bullmq-once:acquired` and so on carry the events of all locks of the process.
   */
  readonly onEvent?: OnEvent;
}

/** A shorter lease would end before an answer about it could be trusted. */
const MIN_TTL_MS = 10;
/** Each step on a key reads all of its holders. */
const MAX_PLACES = 1000;
export const DEFAULT_TTL_MS = 30_000;
export const DEFAULT_SCOPE = 'default';

/** {@link LeaseOptions}, parsed. What is `undefined` depends on where the lock is acquired. */
export interface ParsedLeaseOptions {
  readonly cache: LockCache | string | undefined;
  readonly scope: string | undefined;
  readonly ttl: number | undefined;
  readonly dedupeFor: number;
  readonly maxHold: number;
  readonly concurrency: number;
  readonly onEvent: Emitter;
}

const emitter: Parser<Emitter> = (onEvent, option) => {
  if (onEvent === undefined || typeof onEvent === 'function') return new Emitter(onEvent as OnEvent);
  throw new TypeError(`${option} must be a function, not ${show(onEvent)}`);
};

/** The parsers of {@link LeaseOptions}. */
export const LEASE_OPTIONS: {
  readonly [Option in keyof ParsedLeaseOptions]: Parser<ParsedLeaseOptions[Option]>;
} = {
  cache: optional(cacheLike),
  scope: optional(text),
  ttl: optional(ms(MIN_TTL_MS)),
  dedupeFor: withDefault(0, ms(0)),
  maxHold: (value, option) =>
    value === undefined || value === Number.POSITIVE_INFINITY
      ? Number.POSITIVE_INFINITY
      : ms(MIN_TTL_MS)(value, option),
  concurrency: withDefault(1, (value, option) => {
    if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= MAX_PLACES)
      return value as number;
    throw new TypeError(`${option} must be a whole number, 1 to ${MAX_PLACES}, not ${show(value)}`);
  }),
  onEvent: emitter,
};

/** @throws TypeError two options contradict each other. */
export function checkLeaseOptions(
  of: string,
  { concurrency, dedupeFor }: Pick<ParsedLeaseOptions, 'concurrency' | 'dedupeFor'>,
): void {
  if (concurrency === 1 || dedupeFor === 0) return;
  throw new TypeError(
    `${of}: options 'concurrency: ${concurrency}' and 'dedupeFor: ${dedupeFor}' contradict each other: one says that several run ` +
      'at once, the other that none runs after a success; leave one out',
  );
}
