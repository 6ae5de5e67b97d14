/**
 * The errors that users meet. A message may become part of many jobs' records, and be shown by a terminal: what it quotes is bounded and
 * escaped (`printable.ts`). Fields are as they are. Recognise them by `code`: where a process has two copies of the package, `instanceof` fails
 * between them.
 */

import { describeHolder, type Holder } from './holder.ts';
import { firstOf, shown } from './printable.ts';

/**
 * The key is held: by another job, by another process, or by a value that someone else stored there. What to do: `docs/troubleshooting.md#lockerror`.
 */
export class LockError extends Error {
  readonly code = 'ERR_LOCK_HELD' as const;
  override readonly name: string = 'LockError';
  /** The key that is held, in the user's words. */
  readonly key: string;
  /** Who holds it, and for how long if nobody renews it. */
  readonly holder: Holder;

  constructor(key: string, holder: Holder) {
    super(`lock '${shown(key)}' ${describeHolder(holder)}`);
    this.key = key;
    this.holder = holder;
  }
}

/**
 * The key is held, or was done, for other data: what the option `match` names differs. The work did not run. BullMQ does not retry the job: it
 * knows such an error by its name. What to do: `docs/troubleshooting.md#mismatcherror`.
 */
export class MismatchError extends Error {
  readonly code = 'ERR_LOCK_MISMATCH' as const;
  override readonly name: string = 'UnrecoverableError';
  /** The key, in the user's words. */
  readonly key: string;
  /** Who holds the key, or has done its work. */
  readonly holder: Holder;

  constructor(key: string, holder: Holder) {
    super(`lock '${shown(key)}' ${describeHolder(holder)}, for other data: 'match' differs`);
    this.key = key;
    this.holder = holder;
  }
}

/**
 * Why a lease was lost:
 * - `'expired'`: it was not renewed in time, because this process was stopped or its event loop was blocked;
 * - `'revoked'`: the cache says that it has ended: an operator released it by force, a newer run of the same job reclaimed
 *   it, or its key was deleted;
 * - `'unreachable'`: the cache did not answer a renewal in time;
 * - `'max-hold-exceeded'`: it was held for `maxHold` ms, and is no longer renewed;
 * - `'replaced'`: a newer job has come (`whenLocked: 'replace'`), and runs when the work has ended: until then the key stays held;
 * - `'stalled'`: BullMQ had given the job to another worker before the work began.
 */
export type LossReason = 'expired' | 'revoked' | 'unreachable' | 'max-hold-exceeded' | 'replaced' | 'stalled';

/**
 * The lock is lost while its work runs: others may acquire the key from now on. Where a newer job has come (`'replaced'`), the key stays
 * held until the work has ended. It is the reason of the aborted `signal`. What to do: `docs/troubleshooting.md#locklosterror`.
 */
export class LockLostError extends Error {
  readonly code = 'ERR_LOCK_LOST' as const;
  override readonly name: string = 'LockLostError';
  readonly key: string;
  readonly reason: LossReason;

  constructor(key: string, reason: LossReason) {
    super(`lock '${shown(key)}' is lost: ${LOSSES[reason]}`);
    this.key = key;
    this.reason = reason;
  }
}

const LOSSES: Record<LossReason, string> = {
  expired: 'its lease expired while this process was stopped or its event loop was blocked',
  revoked: 'its lease was released by force, reclaimed by a newer run of its owner, or deleted',
  unreachable: 'its lease could not be renewed, the cache did not answer in time',
  'max-hold-exceeded': 'it was held for as long as maxHold allows, and is no longer renewed',
  replaced: 'a newer job of its key has come, and runs when this one has ended',
  stalled: 'its job stalled before the work began, and BullMQ gave it to another worker',
};

/**
 * No key could be built from this data. The guard never falls back to a key such as `undefined`. What to do:
 * `docs/troubleshooting.md#keyerror`.
 */
export class KeyError extends Error {
  readonly code = 'ERR_LOCK_KEY' as const;
  override readonly name: string = 'KeyError';
  /** The placeholder that could not be filled, without its braces; absent where the key has none. */
  readonly placeholder: string | undefined;
  /** The fields that the data has at the place where the placeholder looked: the first twenty, and of a long name its beginning. */
  readonly fields: readonly string[];

  constructor(
    message: string,
    details: { placeholder?: string; fields?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.placeholder = details.placeholder;
    this.fields = firstOf(details.fields ?? []);
  }
}

/**
 * The cache could not say whether the key is held: it is unreachable, read-only, out of memory, or too slow. It is never taken
 * for "held", nor for "free". What to do: `docs/troubleshooting.md#cacheerror`.
 */
export class CacheError extends Error {
  readonly code = 'ERR_LOCK_CACHE' as const;
  override readonly name: string = 'CacheError';
  readonly key: string;

  constructor(key: string, problem: string, options?: { cause: unknown }) {
    super(`lock '${shown(key)}' could not be decided: ${shown(problem)}`, options);
    this.key = key;
  }
}

/** Whether it is a {@link CacheError} of this or of another copy of the package. */
export function isCacheError(error: unknown): error is CacheError {
  return (error as { code?: unknown } | null)?.code === 'ERR_LOCK_CACHE';
}

/** What was thrown, as an `Error`. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(describeThrown(thrown), { cause: thrown });
}

/** The name and the message of what was thrown. Reading them may throw too: anything can be thrown. */
export function factsOf(thrown: unknown): { readonly name?: unknown; readonly message?: unknown } {
  try {
    const { name, message } = (thrown ?? {}) as { name?: unknown; message?: unknown };
    return { name, message };
  } catch {
    return {};
  }
}

/** What was thrown, for a message. Anything can be thrown: `null`, a symbol, an object that has no string form. */
export function describeThrown(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return 'a value that has no string form';
  }
}
