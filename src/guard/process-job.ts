/** The way of a job through the guard: job → key → acquire → strategy → run → release. */

import { warnOfConfig } from '../bullmq/config-warnings.ts';
import { isStillOwned, mayHaveStalled } from '../bullmq/job-ownership.ts';
import { findQueueCache } from '../bullmq/queue-cache.ts';
import { staggerOf } from '../cache/batching/stagger.ts';
import { isMismatch } from '../cache/lock-rules.ts';
import type { Holder } from '../core/holder.ts';
import { refuseMismatch } from '../duplicates/mismatch.ts';
import { raiseDuplicate, skipDuplicate } from '../duplicates/skip-or-raise.ts';
import type { DuplicateStrategy, GuardedJob } from '../duplicates/strategy.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import { acquireOrFailOpen } from './fail-open.ts';
import {
  type GuardedProcessor,
  JobContext,
  knownCacheOf,
  type ProcessorCall,
  runUnlocked,
  unlockedTerms,
} from './job-context.ts';
import { modeOfProcess } from './mode.ts';
import { emitUnlocked, observing } from './observe.ts';

/**
 * Processes one job.
 * @throws KeyError no key could be built.
 * @throws CacheError the cache could not decide.
 * @throws LockError the job is a duplicate that raises.
 */
export async function processJob(guarded: GuardedProcessor, call: ProcessorCall): Promise<unknown> {
  const { options } = guarded;
  const receivedAt = performance.now();
  const mode = options.mode ?? modeOfProcess();
  if (mode === 'off') return runUnlocked(guarded, call);
  const isObserved = mode === 'observe';

  let context: JobContext;
  try {
    const key = options.key(call.job);
    const match = options.match?.(call.job);
    const queueCache = knownCacheOf(options, call.job) ?? (await findQueueCache(call.job));
    context = new JobContext(guarded, call, { key, match, queueCache, receivedAt, isObserved });
  } catch (error) {
    if (!isObserved) throw error;
    emitUnlocked(unlockedTerms(guarded, call), error);
    return runUnlocked(guarded, call);
  }
  warnOnceOfConfig(guarded, context);

  const strategy = isObserved ? observing(options.strategy) : options.strategy;
  // The order of jobs that join a line is that of the handing out.
  const stagger = context.request.terms.line ? undefined : staggerOf(context.request.cache);
  const wait = stagger?.begin();
  if (wait) await wait;
  try {
    return await follow(context, strategy, receivedAt);
  } finally {
    stagger?.end();
    strategy.onEnd?.(context);
  }
}

/** Lets a job follow its strategy. */
async function follow(
  context: JobContext,
  strategy: DuplicateStrategy<GuardedJob>,
  receivedAt: number,
): Promise<unknown> {
  const { isObserved, job } = context;
  const attempt = await acquireOrFailOpen(context, strategy);
  if (!attempt.acquired) {
    const { holder, standing } = attempt;
    if (!isObserved) {
      const isOwn = holder.owner === context.request.terms.owner && (await isAnotherRun(context, holder));
      if (isOwn) return onOwnLease(context, holder);
      if (isMismatch(context.request.terms, holder)) return refuseMismatch(context.request, holder);
    }
    return strategy.onHeld(context, holder, standing);
  }

  const { handle } = attempt;
  if (!isObserved && mayHaveStalled(job, receivedAt)) await checkStillOwned(context, handle);
  return await strategy.run(context, handle);
}

/** @throws LockLostError BullMQ has given the job to another worker before its work began, or the lock's time was over before. */
async function checkStillOwned({ job, token }: JobContext, handle: LockHandle): Promise<void> {
  let isOwned: boolean;
  try {
    isOwned = await isStillOwned(job, token);
  } catch (error) {
    await handle.release();
    throw error;
  }
  // The answer may have taken longer than the lock lasts.
  if (isOwned && (handle.held || !handle.isGuarded)) return;
  await handle.forfeit('stalled');
  handle.throwIfLost();
}

/**
 * Whether a holder that has the job's owner is another run of the same job: one that has done the work, or a newer one that is under
 * way. A job for which a producer uses the id and the time of a removed job again has its owner too, but counts its runs anew: BullMQ
 * knows it as the one to run.
 */
async function isAnotherRun(
  { job, token, request: { terms } }: JobContext,
  { state, attempt }: Holder,
): Promise<boolean> {
  if (terms.attempt === 0) return true;
  if (state !== 'done') return attempt > terms.attempt;
  return attempt < terms.attempt || !(await isStillOwned(job, token));
}

/** A job is no duplicate of itself. Its work is done and BullMQ does not know it yet; or a newer run of it is under way. */
async function onOwnLease({ request }: JobContext, holder: Holder): Promise<unknown> {
  if (holder.state !== 'done') return raiseDuplicate(request, holder);
  const result = await request.findResult(holder);
  if (!result) return skipDuplicate(request, holder);
  request.emitOutcome('shared', holder);
  return result.value;
}

const checked = new WeakSet<GuardedProcessor>();

function warnOnceOfConfig(guarded: GuardedProcessor, { job, request }: JobContext): void {
  if (checked.has(guarded)) return;
  checked.add(guarded);
  const { ttl, maxHold } = guarded.options;
  warnOfConfig(job, request.cache, { ttl, leaseTtl: request.terms.ttl, maxHold });
}
