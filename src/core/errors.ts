/**
 * The errors that users meet. Match them by `code`: the package is built twice (ESM and CommonJS), and
 * `instanceof` fails between two copies of one class.
 */

import type { Holder } from '../cache/contract.ts';

/** The key is held by another: by another job, another process, or a value that someone else put there. */
export class LockError extends Error {
  readonly code = 'ERR_LOCK_HELD' as const;
  override readonly name: string = 'LockError';
  /** The key that is held, as it was built or given: without the prefix it has in the cache. */
  readonly key: string;
  /** Who holds it, and for how long if nobody renews it. */
  readonly holder: Holder;

  constructor(key: string, holder: Holder) {
    super(`lock '${key}' ${describeHolder(holder)}`);
    this.key = key;
    this.holder = holder;
  }
}

/**
 * Why a lease was lost:
 * - `'expired'`: its time ran out before it was renewed, because this process was stopped or its event loop blocked;
 * - `'taken-over'`: the cache says it is no longer ours: the same job was started again elsewhere, or the key was deleted;
 * - `'unreachable'`: the cache did not answer in time;
 * - `'overdue'`: it was held for as long as `maxHold` allows, and is renewed no more;
 * - `'stalled'`: it was let go of before its work began: BullMQ had given the job to another worker meanwhile.
 */
export type LossReason = 'expired' | 'taken-over' | 'unreachable' | 'overdue' | 'stalled';

/** The reason of a lock's aborted `signal`: the work goes on, but others may be let in from now on. */
export class LockLostError extends Error {
  readonly code = 'ERR_LOCK_LOST' as const;
  override readonly name: string = 'LockLostError';
  readonly key: string;
  readonly why: LossReason;

  constructor(key: string, why: LossReason) {
    super(`lock '${key}' is lost: ${LOSSES[why]}`);
    this.key = key;
    this.why = why;
  }
}

const LOSSES: Record<LossReason, string> = {
  expired: 'its lease ran out while this process was stopped or its event loop was blocked',
  'taken-over': 'its lease was taken over or deleted',
  unreachable: 'its lease could not be renewed, the cache did not answer in time',
  overdue: 'it was held for as long as its maxHold allows, and is renewed no more',
  stalled: 'its job stalled before its work began, and was given to another worker',
};

/** No key could be built from this data. It is never a lock on the string `undefined`. */
export class KeyError extends Error {
  readonly code = 'ERR_LOCK_KEY' as const;
  override readonly name: string = 'KeyError';
  /** The placeholder that could not be filled, without its braces; absent where the key has none. */
  readonly placeholder: string | undefined;
  /** The fields that the data does have, where the placeholder looked for its own. */
  readonly fields: readonly string[];

  constructor(
    message: string,
    details: { placeholder?: string; fields?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.placeholder = details.placeholder;
    this.fields = details.fields ?? [];
  }
}

/** The cache could not decide: it is unreachable, read-only, out of memory, or too slow. Never "held", never "free". */
export class CacheError extends Error {
  readonly code = 'ERR_LOCK_CACHE' as const;
  override readonly name: string = 'CacheError';
  readonly key: string;

  constructor(key: string, problem: string, options?: { cause: unknown }) {
    super(`lock '${key}' could not be decided: ${problem}`, options);
    this.key = key;
  }
}

/**
 * @internal Says of a key who holds it, and for how long.
 * @param owner - what the holder's owner is called.
 */
export function describeHolder(
  holder: Holder,
  owner: string = holder.owner,
  timeOf: (ms: number) => string = seconds,
): string {
  const left = Number.isFinite(holder.expiresIn) ? ` for another ${timeOf(holder.expiresIn)}` : '';
  if (holder.state === 'foreign') return `is held${left} by a value that is not a lock's`;
  if (holder.state === 'done') return `was done by ${owner} and is kept${left}`;
  return `is held by ${owner}${left}`;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.ceil(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** @internal What was thrown, as an `Error`. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown });
}
