/** What the processors of a history do: each run as its plan says. */

import { MAX_RESULT_BYTES } from '../../src/lock/kept-result.ts';
import type { LockHandle } from '../../src/lock/lock-handle.ts';
import type { JobFacts, Run, Work } from './facts.ts';
import type { RunPlan } from './plan.ts';
import type { SimulatedProcess } from './process.ts';
import { type JobModel, RATE_LIMITED } from './worker-model.ts';
import type { World } from './world.ts';

/** The work looks at its lock so often. */
const PARTS = 3;
const DELAYS_ITSELF_MS = 100;
const RATE_LIMIT_MS = 150;
/** More than is kept. */
const MUCH = 'x'.repeat(MAX_RESULT_BYTES);
const LAST_RUN: RunPlan = { ms: 5, how: 'complete' };

type RunProcessor = (job: JobModel, token: string, signal: AbortSignal, lock: LockHandle) => Promise<unknown>;

export function processorOf(world: World, process: SimulatedProcess): RunProcessor {
  return async (job, token, signal, lock) => {
    const facts = world.factsOf(job) as JobFacts;
    const run: Run = {
      ...workOf(world, { name: `job ${facts.nth}`, owner: facts.owner, storedKey: facts.storedKey }, lock),
      process,
      signal,
      job: facts,
      attempt: job.attemptsStarted,
      model: job,
      plan: facts.runPlans[facts.runs.length] ?? LAST_RUN,
      endedAt: undefined,
      outcome: undefined,
    };
    noteAbort(world, run);
    facts.runs.push(run);
    world.observer.onStarted(run);
    try {
      const value = await runAsPlanned(world, run, token);
      run.outcome = { value };
      return value;
    } catch (error) {
      run.outcome = { error };
      throw error;
    } finally {
      run.endedAt = world.scheduler.now;
      world.facts.activeWork.delete(run);
    }
  };
}

export function workOf(
  { scheduler }: World,
  who: Pick<Work, 'name' | 'owner' | 'storedKey'>,
  lock: LockHandle,
): Omit<Work, 'process' | 'signal'> {
  return { ...who, lock, startedAt: scheduler.now, abortedAt: undefined, hasReleased: false };
}

/** Notes when the signal of work aborts. */
export function noteAbort({ scheduler }: World, work: Work): void {
  const { signal } = work;
  const note = (): void => {
    work.abortedAt ??= scheduler.now;
  };
  if (signal.aborted) note();
  signal.addEventListener('abort', note);
}

async function runAsPlanned(world: World, run: Run, token: string): Promise<unknown> {
  const { plan, process, signal, lock, model } = run;
  const { observer } = world;
  observer.onLook(run);
  for (let part = 0; part < PARTS; part++) {
    await process.sleep(plan.ms / PARTS);
    observer.onLook(run);
    if (plan.obeys && signal.aborted) {
      if (signal.reason?.reason === 'replaced') return { stopped: model.id };
      throw new Error(`asked to fail: ${signal.reason?.message}`);
    }
    if (plan.releasesEarly && part === 0) {
      run.hasReleased = true;
      await lock.release();
    }
  }
  return endAsPlanned(world, run, token);
}

async function endAsPlanned(world: World, run: Run, token: string): Promise<unknown> {
  const { model: job, process, plan } = run;
  const { id, attemptsStarted } = job;
  switch (plan.how) {
    case 'fail':
      throw new Error('asked to fail');
    case 'fail for good':
      throw named('UnrecoverableError', 'asked to fail for good');
    case 'go back':
      await job.moveToWait(token);
      throw named('WaitingError', 'it goes back');
    case 'rate limit':
      await job.queue.rateLimit(RATE_LIMIT_MS);
      throw named('RateLimitError', RATE_LIMITED);
    case 'delay itself':
      await job.moveToDelayed(process.clock.wall() + DELAYS_ITSELF_MS, token);
      throw named('DelayedError', 'it delays itself');
    case 'wait for children':
      await addChildren(world, run);
      if (await job.moveToWaitingChildren(token))
        throw named('WaitingChildrenError', 'it waits for children');
  }
  return { done: id, run: attemptsStarted, ...(plan.returnsMuch && { much: MUCH }) };
}

async function addChildren(world: World, { job, model, plan }: Run): Promise<void> {
  for (const child of plan.children ?? []) {
    const opts = { ...child.opts, parent: job.id };
    await model.queue.connection.send('addJob', () =>
      world.addJob({ ...child, queue: job.queue, opts }, job),
    );
  }
}

function named(name: string, message: string): Error {
  return Object.assign(new Error(message), { name });
}
