/**
 * The line of a key: what the strategies share that park their duplicates. A parked job is in BullMQ's delayed set, and its owner is in
 * the key's line in the cache. Who releases the key promotes the next. Promotions get lost, so a parked job also comes back by itself,
 * those who parked it watch the line, and who finds the key free asks BullMQ what became of the one whose turn it is.
 */

import { delayJob, mayStartAgain } from '../bullmq/delay.ts';
import { type Jobs, jobsOf } from '../bullmq/handed-out.ts';
import { attemptOf } from '../bullmq/job.ts';
import { noteWorker } from '../bullmq/workers.ts';
import { LINE_METHODS, type LineKind, type Standing } from '../cache/contract.ts';
import type { Holder } from '../core/holder.ts';
import { jobOfOwner } from '../key/owner-id.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { AcquireAttempt } from '../lock/lock-request.ts';
import { msUntilFree } from './delay.ts';
import { giveWay } from './give-way.ts';
import { watchLine } from './line-watch.ts';
import { raiseDuplicate, skipDuplicate } from './skip-or-raise.ts';
import { type DuplicateStrategy, type GuardedJob, plain } from './strategy.ts';
import {
  awaitTurn,
  lookAgain,
  promote,
  promoteBeforeClose,
  promoteHead,
  promoteNext,
  sendPromotion,
  settled,
} from './whose-turn.ts';

/** A parked job that nobody can promote comes back this often, if it is the first; the nth comes back √n times as rarely. */
const UNPROMOTED_MS = 1000;
/** Nobody promotes the first when a reservation ends with its job. It comes back at least this often. */
const MAX_RESERVED_MS = 5000;
/**
 * Who was next when a job acquired the key is believed to be so for this long. Later the key may have been freed by force, and that one
 * may have run.
 */
const BELIEVE_NEXT_MS = 1000;
/** No line advances faster: each job takes two round trips. */
const MAX_RUNS_PER_MS = 10;

/** A strategy that parks its duplicates. */
export function inLine(
  kind: LineKind,
  more: Partial<DuplicateStrategy<GuardedJob>> = {},
): DuplicateStrategy<GuardedJob> {
  return {
    ...plain,
    needs: { methods: LINE_METHODS },
    line: kind,
    outcome: 'parked',
    acquire,
    onHeld,
    run: runAndPromote,
    onNext: promoteNext,
    onEnd: ({ job }) => jobsOf(job)?.forget(job),
    ...more,
  };
}

/**
 * Runs a job that holds its key. What comes next is promoted before the job's completion is sent; after longer work, when the answer to
 * the release says who that is.
 */
export async function runAndPromote(work: GuardedJob, handle: LockHandle): Promise<unknown> {
  const startedAt = performance.now();
  const hasOnePlace = work.concurrency === 1;
  // A place that nobody has released (its holder died, an operator freed it, there are more than before) was told to nobody.
  if (!hasOnePlace && handle.next !== undefined) void promoteHead(work);
  // With several places another holder may have promoted that one long before.
  const next = hasOnePlace ? handle.next : undefined;
  const awaited = next === undefined ? undefined : awaitTurn(work, next);
  try {
    const result = await work.run(handle);
    jobsOf(work.job)?.noteDone(work.job);
    return result;
  } finally {
    const isBelieved = next !== undefined && performance.now() - startedAt < BELIEVE_NEXT_MS;
    if (isBelieved && handle.isFreed) await sendPromotion(work, next, awaited);
    await promoteBeforeClose(work);
  }
}

async function acquire(work: GuardedJob): Promise<AcquireAttempt> {
  const { job, request } = work;
  noteWorker(job, request.cache);
  const jobs = jobsOf(job);
  if (attemptOf(job) !== 1) {
    // A job that was parked has its position: who was handed out before it does not matter any more.
    jobs?.noteBack(job, request.terms.storedKey);
    const attempt = await settled(work, () => request.tryAcquireFromLine());
    if (attempt) return attempt;
  }
  return acquireAfterOlder(work, jobs);
}

/** Asks for the key when those have asked for it that were handed out before. */
async function acquireAfterOlder(work: GuardedJob, jobs: Jobs | undefined): Promise<AcquireAttempt> {
  const { job, request } = work;
  const here = jobs?.note(job, request.terms.storedKey);
  try {
    if (jobs) await giveWay(work, jobs);
    const attempt = settled(work, () => request.tryAcquire()) as Promise<AcquireAttempt>;
    // Calls on several connections overtake each other.
    if (request.cache.overtakes) await attempt;
    // Elsewhere its step is on its way before any of those that wait for it.
    here?.onEntered();
    return await attempt;
  } finally {
    here?.onEntered();
  }
}

/** The key is held: the job is parked, or a newer one has outdone it. */
async function onHeld(work: GuardedJob, holder: Holder, standing: Standing | undefined): Promise<unknown> {
  const { request } = work;
  if (standing?.is === 'outdone') return skipDuplicate(request, holder);
  // Another run of the same job is under way.
  if (standing?.is !== 'in-line') return raiseDuplicate(request, holder);
  if (standing.outdone !== undefined) void promote(work, standing.outdone);
  return park(work, holder, standing.ahead);
}

/**
 * Moves a job to the delayed set whose owner is in the line.
 * @param ahead - how many are before it.
 */
export async function park(work: GuardedJob, holder: Holder, ahead: number): Promise<never> {
  const { job, token, request } = work;
  if (!mayStartAgain(job)) {
    await request.strikeOut(request.terms.owner);
    return raiseDuplicate(request, holder);
  }
  const startedAt = performance.now();
  const moved = await delayJob(job, token, comesBackIn(work, holder, ahead));
  request.emitOutcome('parked', holder);
  if (job.promote) watchLine(work);
  // Else those before it can't all have run meanwhile. Of the line 'together' all leave at once.
  const mayBeItsTurn = ahead <= (performance.now() - startedAt + 1) * MAX_RUNS_PER_MS;
  if (mayBeItsTurn || request.terms.line?.kind === 'together') void lookAgain(work);
  throw moved;
}

/** In how many ms a parked job comes back if nobody promotes it: the later the further back it stands. */
function comesBackIn({ job, scope, request }: GuardedJob, holder: Holder, ahead: number): number {
  const { owner, ttl } = request.terms;
  const rarely = Math.sqrt(ahead + 1);
  // Others know it by its owner alone.
  const isPromoted = jobOfOwner(owner) !== undefined && job.promote !== undefined && scope === undefined;
  if (!isPromoted || holder.state === 'parked') {
    const ms = Math.min(UNPROMOTED_MS, ttl) * rarely;
    // The result is kept for it for a ttl.
    return request.terms.line?.kind === 'together' ? Math.min(ms, ttl / 3) : ms;
  }
  const untilFree = msUntilFree(holder, ttl);
  const first = holder.state === 'reserved' ? Math.min(untilFree, MAX_RESERVED_MS) : untilFree;
  return first + ttl * (rarely - 1);
}
