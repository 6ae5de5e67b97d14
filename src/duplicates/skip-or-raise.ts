/** How work gets its key, or what becomes of it where that is held and no queue is needed to say so. */

import type { Holder } from '../cache/contract.ts';
import type { Claimant } from '../lock/lock-request.ts';
import { asError, LockError } from '../core/errors.ts';
import type { Fate } from '../events/events.ts';
import type { CheckedGuardOptions } from '../guard/options.ts';
import type { HeldLock } from '../lock/lock-handle.ts';
import { tellUnguarded } from '../guard/fail-open.ts';
import { claimInTurn } from '../lock/wait-queue.ts';
import type { Policy } from './when-locked.ts';

/**
 * Claims a key, waiting for it where the policy says so.
 * @param owner - who the work is for: there is no use in waiting for its own lease.
 * @returns the lock, which is not held where the work runs unguarded; or who holds the key.
 * @throws CacheError the cache could not decide, and the work is not to run unguarded.
 */
export function claimFor(
  claimant: Claimant,
  options: CheckedGuardOptions,
  signal?: AbortSignal,
  owner?: string,
): Promise<HeldLock | Holder> {
  const { policy, runUnguarded } = options;
  // Most work: nothing stands between its claim and the cache's answer.
  if (policy.kind !== 'wait' && !runUnguarded) return claimant.ask();
  return claimOtherwise(claimant, options, signal, owner);
}

async function claimOtherwise(
  claimant: Claimant,
  { policy, runUnguarded }: CheckedGuardOptions,
  signal: AbortSignal | undefined,
  owner: string | undefined,
): Promise<HeldLock | Holder> {
  try {
    if (policy.kind !== 'wait') return await claimant.ask();
    return await claimInTurn(claimant, { waitFor: policy.ms, signal, owner });
  } catch (error) {
    // BullMQ may cancel a job for a reason that is only a text, and needs an error to record.
    if (!runUnguarded || signal?.aborted) throw asError(error);
    tellUnguarded(error);
    return claimant.unguarded();
  }
}

/**
 * Skips a duplicate, raises, or asks the user's function.
 * @param ask - gives that function what it takes.
 */
export function settle(
  policy: Policy,
  claimant: Claimant,
  holder: Holder,
  ask: (answer: (...args: any[]) => unknown) => unknown,
): unknown {
  if (policy.kind === 'ask') return ask(policy.answer);
  const fate = fateUnder(policy);
  claimant.tell(fate, holder);
  if (fate === 'raised') throw new LockError(claimant.name, holder);
  return undefined;
}

/** What would have become of a duplicate that runs all the same. What a function of the user's would have made of it nobody knows. */
export function fateUnder(policy: Policy): Fate {
  switch (policy.kind) {
    case 'retry':
      return 'retried';
    case 'keep-last':
      return 'kept';
    case 'raise':
      return 'raised';
    case 'wait':
      return policy.raise ? 'raised' : 'skipped';
    default:
      return 'skipped';
  }
}
