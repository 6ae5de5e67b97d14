/** Whose turn it is in the line of a key: promotes that job, and strikes it out where BullMQ does not have it to run any more. */

import { attemptOf } from '../bullmq/job.ts';
import { isAncestor, type JobFate, lookUpJob } from '../bullmq/job-lookup.ts';
import { awaitNext, type PromoteOptions, promoteJob, whenClosing } from '../bullmq/promote.ts';
import type { AwaitedJob } from '../bullmq/to-the-front.ts';
import type { LineRecord } from '../cache/contract.ts';
import type { Holder } from '../core/holder.ts';
import { endOfTurn } from '../core/timers.ts';
import { jobOfOwner } from '../key/owner-id.ts';
import type { AcquireAttempt } from '../lock/lock-request.ts';
import type { GuardedJob } from './strategy.ts';

/** The owner whose turn it is is asked about if it was parked longer ago. One that was promoted just now is on its way. */
const ON_ITS_WAY_MS = 1000;

/** Prepares the promotion of an owner whose turn is next. */
export function awaitTurn(work: GuardedJob, owner: string): AwaitedJob | undefined {
  const other = jobOfOwner(owner);
  return other && awaitNext(work.job, other, work.request.cache);
}

/** Promotes a job. Resolves when the command is written: when the promise callbacks of this turn of the event loop have run. */
export function sendPromotion(
  work: GuardedJob,
  owner: string,
  awaited: AwaitedJob | undefined,
): Promise<void> {
  void promote(work, owner, { isKnown: true, awaited });
  return endOfTurn();
}

/**
 * Who released the key meanwhile could not promote the job, which was not in the delayed set yet. Never rejects, and nobody waits for it.
 */
export async function lookAgain(work: GuardedJob): Promise<void> {
  const { job, request, concurrency } = work;
  const promoteIt = (isInHaste: boolean) =>
    void promote(work, request.terms.owner, { start: attemptOf(job), isInHaste });
  // There is no time to look. If it is not its turn, it is parked again where it stood.
  const hurry = () => promoteIt(true);
  if (job.queue?.closing) return hurry();
  const stop = job.queue && whenClosing(job.queue, hurry);
  try {
    const { held, ahead } = await request.findLine();
    const isItsTurn = ahead === undefined || ahead < concurrency - held;
    if (isItsTurn) promoteIt(false);
  } catch {
    // It is delayed, and comes back by itself.
  } finally {
    stop?.();
  }
}

/**
 * The key was released by a worker that closes: promotes the first of the line. Its connection may be closed before the answer to the
 * release says who is next, and whoever was next may have been outdone since. Never rejects.
 */
export async function promoteBeforeClose(work: GuardedJob): Promise<void> {
  if (work.job.queue?.closing) await promoteHead(work);
}

/** Promotes the first of the line, if a place is free. Never rejects. */
export async function promoteHead(work: GuardedJob): Promise<void> {
  try {
    const { held, head } = await work.request.findLine();
    if (head !== undefined && held < work.concurrency) await promoteNext(work, head);
  } catch {
    // It comes back by itself.
  }
}

/** The key was released: promotes whose turn it is. Never rejects, and nobody waits for it. */
export async function promoteNext(work: GuardedJob, owner: string): Promise<void> {
  const { request, concurrency } = work;
  try {
    for (let next: string | undefined = owner; next !== undefined; ) {
      // A command that is sent now leaves before a worker that closes has closed its connection.
      if (await promoteParked(work, next, { isInHaste: work.job.queue?.closing !== undefined })) return;
      const fate = await fateOf(work, next);
      // It is on its way, or its queue is out of reach.
      if (!isGone(fate)) return;
      await request.strikeOut(next);
      const { held, head }: LineRecord = await request.findLine();
      next = held < concurrency ? head : undefined;
    }
  } catch {
    // It comes back by itself.
  }
}

/** Promotes an owner, if it is in the line still when its job is read. */
function promoteParked(work: GuardedJob, owner: string, how: PromoteOptions = {}): Promise<boolean> {
  const isParked = async () => (await work.request.findLines([owner]))[0]?.ahead !== undefined;
  return promote(work, owner, { ...how, isParked });
}

/** @returns whether it was promoted. */
export async function promote(work: GuardedJob, owner: string, how: PromoteOptions = {}): Promise<boolean> {
  const other = jobOfOwner(owner);
  return other !== undefined && promoteJob(work.job, other, work.request.cache, how);
}

/** Asks until nobody is in the way whose job BullMQ does not have to run any more. */
export async function settled(
  work: GuardedJob,
  ask: () => Promise<AcquireAttempt | undefined>,
): Promise<AcquireAttempt | undefined> {
  for (;;) {
    const attempt = await ask();
    if (!attempt || attempt.acquired || attempt.holder.state !== 'parked') return attempt;
    const isOutdone = attempt.standing?.is === 'outdone';
    if (!(await strikeOutIfAbandoned(work, attempt.holder, { isOutdone }))) return attempt;
  }
}

/**
 * @param isOutdone - the job is to be skipped for good because of that owner.
 * @returns whether the owner whose turn it is was struck out of the line.
 */
async function strikeOutIfAbandoned(
  work: GuardedJob,
  { owner, since }: Holder,
  { isOutdone }: { readonly isOutdone: boolean },
): Promise<boolean> {
  const isBack = attemptOf(work.job) !== 1;
  const parkedFor = Date.now() - since;
  const isOnItsWay = !isBack && parkedFor < ON_ITS_WAY_MS;
  if (isOnItsWay && !isOutdone) return false;
  const fate = (await waitsFor(work, owner)) ? 'gone' : await fateOf(work, owner);
  // The key is free, and its promotion may have been lost. By a newer one that is parked a job is outdone also while the key is held.
  if (fate === 'to-run' && !isOutdone) void promoteParked(work, owner);
  // BullMQ can't be asked, and it had its time.
  const hadItsTime = fate === 'unknown' && isBack && parkedFor > work.request.terms.ttl;
  if (!isGone(fate) && !hadItsTime) return false;
  await work.request.strikeOut(owner);
  return true;
}

/** An ancestor that waits for the job does not come before it, and joins the line again when it comes. It may have run without a lock. */
async function waitsFor({ job, request }: GuardedJob, owner: string): Promise<boolean> {
  const other = job.parentKey ? jobOfOwner(owner) : undefined;
  return other !== undefined && isAncestor(other, job, request.cache);
}

/** BullMQ does not have the job to run any more. */
function isGone(fate: JobFate): boolean {
  return fate === 'finished' || fate === 'given-up' || fate === 'gone';
}

/** What became of a parked job. Where the answer is wrong, it joins the line again when it comes. */
function fateOf({ job, request }: GuardedJob, owner: string): Promise<JobFate> {
  return lookUpJob(job, jobOfOwner(owner), request.cache, request.terms.ttl);
}
