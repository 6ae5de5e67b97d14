/** Work that runs whatever its key's state, as the modes `'observe'` and `'off'` say. */

import type { Holder } from '../cache/contract.ts';
import type { Claimant } from '../lock/lock-request.ts';
import { fateUnder } from '../duplicates/skip-or-raise.ts';
import { asError } from '../core/errors.ts';
import type { CheckedGuardOptions } from './options.ts';
import { HeldLock } from '../lock/lock-handle.ts';
import type { LeaseRequest } from '../lock/lease.ts';
import { about } from '../lock/lease-events.ts';

/** The job that the work is of. */
interface JobLike {
  readonly queueName: string;
  readonly id?: string | undefined;
}

/** Work that is only observed waits no longer than this for its cache, in ms. */
const PATIENCE = 1000;

/** Claims a key for work that runs in any case, and tells what would have become of it. */
export async function observe(claimant: Claimant, { policy }: CheckedGuardOptions): Promise<HeldLock> {
  const asked = claimant.ask();
  let claim: HeldLock | Holder | undefined;
  try {
    claim = await inTime(asked);
  } catch {
    // The event `failed` has told of it.
    return claimant.unguarded();
  }
  if (claim instanceof HeldLock) return claim;
  if (claim) claimant.tell(fateUnder(policy), claim, true);
  else letGoLate(asked);
  return claimant.unguarded();
}

async function inTime<Answer>(answer: Promise<Answer>): Promise<Answer | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, PATIENCE, undefined);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The work has begun without it. */
function letGoLate(asked: Promise<HeldLock | Holder>): void {
  asked.then(
    claim => claim instanceof HeldLock && claim.release(),
    () => {},
  );
}

/** The lock of work for which nothing is asked. */
export function noLock({ teller }: CheckedGuardOptions, job?: JobLike): HeldLock {
  return HeldLock.none(nothing(teller, job));
}

/** Tells that work which runs in any case could not even get a key. */
export function tellKeyless({ teller }: CheckedGuardOptions, error: unknown, job?: JobLike): void {
  if (!teller.hears('failed')) return;
  const subject = about(nothing(teller, job));
  teller.tell({ type: 'failed', ...subject, step: 'claim', error: asError(error), unguarded: true });
}

function nothing(teller: LeaseRequest['teller'], job: JobLike | undefined): LeaseRequest {
  const nobody = { key: '', name: '', owner: '', attempt: 0, ttl: 0, maxHold: 0, since: 0 };
  return { ...nobody, teller, runsAnyway: true, queueName: job?.queueName, jobId: job?.id };
}
