/** What happens in a history besides the work: jobs and calls come, things break, operators and deploys intervene. */

import { makeCall } from './calls.ts';
import type { JobFacts } from './facts.ts';
import type { JobPlan, Step } from './plan.ts';
import { CANCELLED } from './worker-model.ts';
import type { World } from './world.ts';

const FAIL_OVER_MS = 50;

export function perform(world: World, step: Step): void {
  const { facts, server, observer } = world;
  facts.tell(() => `== ${describeStep(step)}`);
  const later = (ms: number, run: () => void): void => world.scheduler.after(ms, run);
  const jobOf = (nth: number): JobFacts | undefined => facts.jobs[nth];
  switch (step.do) {
    case 'add':
      world.addJob(step.job);
      return;
    case 'call': {
      const place = world.placeOf(step.process);
      place.process.enter(() => void makeCall(world, place, step.call));
      return;
    }
    case 'remove': {
      const job = jobOf(step.nth);
      facts.note('operatorAt');
      if (job) server.queues[job.queue]?.remove(job.id);
      return;
    }
    case 'promote':
    case 'retry': {
      const job = jobOf(step.nth);
      facts.note('operatorAt');
      const queue = job && server.queues[job.queue];
      if (!queue) return;
      const state = queue.get(job.id)?.state;
      if (step.do === 'promote' && state === 'delayed') queue.promote(job.id);
      if (step.do === 'retry' && state === 'failed') {
        Object.assign(job, { end: undefined, endedAt: undefined });
        queue.retryFailed(job.id, { resetAttempts: false });
      }
      return;
    }
    case 'cancel': {
      const job = jobOf(step.nth);
      if (!job) return;
      const queue = server.queues[job.queue];
      for (const { process, workers } of world.places) {
        process.enter(() => {
          for (const worker of workers) {
            if (worker.server === queue && worker.cancelJob(job.id, CANCELLED))
              observer.onCancelled(job, worker);
          }
        });
      }
      return;
    }
    case 'drain':
      facts.note('operatorAt');
      server.queues[step.queue]?.drain({ delayed: step.delayed });
      return;
    case 'pause': {
      const queue = server.queues[step.queue];
      queue?.pause();
      later(step.ms, () => queue?.resume());
      return;
    }
    case 'force-release':
      facts.note('operatorAt');
      for (const storedKey of server.locks.storedKeys) {
        if (storedKey.endsWith(`:${step.key}`))
          server.locks.forceRelease({ storedKey }, { byOperator: true });
      }
      return;
    case 'crash': {
      const i = step.process % world.places.length;
      const place = world.placeOf(i);
      facts.note('processUntil', facts.now + step.ms);
      world.kill(place);
      later(step.ms, () => world.start(i, place.version));
      return;
    }
    case 'deploy': {
      const i = step.process % world.places.length;
      const place = world.placeOf(i);
      const { options, worker } = place.version;
      facts.deployedAt = facts.now;
      place.process.enter(() => void world.end(place));
      world.start(i, {
        options: { ...options, ...step.changes },
        worker: { ...worker, concurrency: step.slots },
      });
      return;
    }
    case 'at the next':
      world.triggers.add(step);
      return;
    case 'freeze': {
      const { process } = world.placeOf(step.process);
      process.frozenUntil = Math.max(process.frozenUntil, facts.now + step.ms);
      facts.note('processUntil', process.frozenUntil);
      return;
    }
    case 'jump':
      world.placeOf(step.process).process.clock.jump(step.ms);
      facts.note('clockJumpedAt');
      return;
    case 'cut':
      for (const connection of world.placeOf(step.process).connections) connection.cut(step.ms);
      return;
    case 'stall':
      for (const connection of world.placeOf(step.process).connections) connection.stall(step.ms);
      return;
    case 'slow':
      for (const connection of world.placeOf(step.process).connections) connection.slow(step.ms, step.extra);
      return;
    case 'server down':
      world.takeDown(step.ms);
      return;
    case 'lose locks':
      facts.note('dataLostAt');
      server.locks.restore(new Map());
      observer.onDataLost(new Map());
      return;
    case 'fail over': {
      const replica = server.replicate();
      later(step.lag, () => {
        facts.note('dataLostAt');
        server.failOverTo(replica);
        observer.onDataLost(replica.keys);
        observer.onQueuesRestored(server.queues);
        world.takeDown(FAIL_OVER_MS);
      });
      return;
    }
    case 'refuse':
      server.refuses = step.what;
      facts.note('serverUntil', facts.now + step.ms);
      later(step.ms, () => {
        server.refuses = 'nothing';
      });
      return;
    case 'jump of the server':
      // What has expired does not come back.
      server.locks.purge();
      facts.allLeases();
      server.clock.jump(step.ms);
      facts.note('serverJumpedAt');
      return;
  }
}

/** A step, as a line of a trace. */
function describeStep({ at: _at, do: what, ...rest }: Step): string {
  if ('job' in rest) return describeJob(rest.job, `add a job of ${rest.job.key} to q${rest.job.queue}`);
  return `${what} ${JSON.stringify(rest)}`;
}

function describeJob({ opts, runs, children = [] }: JobPlan, what: string): string {
  const plans = runs.map(({ ms, how, children: added = [], ...more }) => {
    const details = Object.keys(more).length > 0 ? ` ${JSON.stringify(more)}` : '';
    return `${how} after ${ms} ms${details}${describeChildren(added)}`;
  });
  return `${what} ${JSON.stringify(opts)}: ${plans.join(', then ')}${describeChildren(children)}`;
}

function describeChildren(children: readonly JobPlan[]): string {
  return children.map(child => ` [${describeJob(child, `child of ${child.key}`)}]`).join('');
}
