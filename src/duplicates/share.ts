/**
 * `'share'`: duplicates are parked while the work runs, and all complete with its result. If it fails, the first of them runs, and the
 * others wait for that one. Jobs of a key are equal here: it is not their order that counts, but that the work is done once.
 */

import { resultOfJob } from '../bullmq/job-result.ts';
import { lookAtBacklog } from '../bullmq/to-the-front.ts';
import { noteWorker } from '../bullmq/workers.ts';
import { LINE_METHODS, type LockCache, type Standing } from '../cache/contract.ts';
import type { Holder } from '../core/holder.ts';
import { endOfTurn } from '../core/timers.ts';
import { jobOfOwner } from '../key/owner-id.ts';
import { readResult, type SharedResult } from '../lock/kept-result.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import { park } from './line.ts';
import { raiseDuplicate } from './skip-or-raise.ts';
import { type DuplicateStrategy, type GuardedJob, plain, type StrategyForm } from './strategy.ts';
import { promote, promoteBeforeClose, promoteNext } from './whose-turn.ts';

/** What `'share'` needs of a cache. */
export const SHARE_METHODS: readonly (keyof LockCache)[] = [...LINE_METHODS, 'results'] as const;

const share: DuplicateStrategy<GuardedJob> = {
  ...plain,
  needs: { methods: SHARE_METHODS, onePlace: true },
  line: 'together',
  outcome: 'shared',
  acquire({ job, request }) {
    noteWorker(job, request.cache);
    return request.tryAcquire();
  },
  onHeld,
  run,
  onNext: promoteNext,
  onAnswered: promoteAll,
};

export const shareForm: StrategyForm<GuardedJob> = {
  usage: "'share'",
  parse: whenLocked => (whenLocked === 'share' ? share : undefined),
};

/** The answer to the release says who is to be promoted. The job's completion is sent behind that. */
async function run(work: GuardedJob, handle: LockHandle): Promise<unknown> {
  try {
    return await work.run(handle, async run => {
      const result = await run();
      if (work.job.queue) lookAtBacklog(work.job.queue);
      return result;
    });
  } finally {
    await endOfTurn();
    await promoteBeforeClose(work);
  }
}

function promoteAll(work: GuardedJob, owners: readonly string[]): void {
  for (const owner of owners) void promote(work, owner, { isKnown: true });
}

async function onHeld(work: GuardedJob, holder: Holder, standing: Standing | undefined): Promise<unknown> {
  if (standing?.is === 'answered') {
    if (standing.next !== undefined) void promote(work, standing.next, { isKnown: true });
    await promoteBeforeClose(work);
    return completeWith(work, holder, readResult(standing.result));
  }
  if (holder.state === 'done') return completeWith(work, holder, undefined);
  // Another run of the same job is under way.
  if (standing?.is !== 'in-line') return raiseDuplicate(work.request, holder);
  return park(work, holder, standing.ahead);
}

/** @param result - as it is kept. One that is too large is read from the job that did the work. */
async function completeWith(
  work: GuardedJob,
  holder: Holder,
  result: SharedResult | undefined,
): Promise<unknown> {
  const isIts = result?.by === holder.owner;
  const value =
    isIts && result.isKept
      ? result.value
      : await resultOfJob(work.job, jobOfOwner(holder.owner), work.request.cache);
  work.request.emitOutcome('shared', holder);
  return value;
}
