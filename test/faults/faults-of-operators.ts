/** What people do to jobs and workers while jobs run. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { ownerOf } from '../../src/bullmq/job.ts';
import type { Fault } from './faults.ts';
import { changeOptions, type GuardOptions } from './guard-options.ts';

/** So many jobs are removed or promoted at once. */
const JOBS = 5;

export const OF_OPERATORS: readonly Fault[] = [
  {
    name: 'jobs are removed and promoted by hand',
    async inject({ queues, recorder, random }) {
      const queue = random.oneOf(queues);
      const delayed: Job[] = await queue.getDelayed();
      const jobs = [...delayed, ...((await queue.getWaiting()) as Job[])];
      for (let i = 0; i < JOBS && jobs.length > 0; i++) {
        const [job] = jobs.splice(random.between(0, jobs.length - 1), 1) as [Job];
        const isDelayed = delayed.includes(job);
        if (isDelayed && random.chance(0.5)) {
          // It may have left the delayed set meanwhile.
          await job.promote().catch(() => {});
          continue;
        }
        recorder.record({ event: 'removed', owner: ownerOf(job as never) });
        // A worker may have it.
        await job.remove().catch(() => {});
      }
    },
  },
  {
    name: 'a deploy',
    async inject({ pool, random }) {
      await pool.deploy(changeOptions(random, pool.options as GuardOptions));
    },
  },
];

export const OF_PROCESSES: readonly Fault[] = [
  {
    name: 'two workers and two queues a process',
    queues: 2,
    workersPerQueue: 2,
    inject: () => delay(100),
  },
];
