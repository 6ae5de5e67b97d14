/** Runs jobs of a guarded processor without a queue, for tests. */

import type { Job } from 'bullmq';

let added = 0;

/** Runs a job to its end, as a worker does: one that is delayed or parked is run again when it is due. */
export async function runJob<Data, Result>(
  processor: (job: Job<Data>) => Promise<Result>,
  data: Data,
  fields: object = {},
): Promise<Result> {
  let dueAt = 0;
  const job = {
    ...{ id: `${++added}`, name: 'test', data, timestamp: Date.now(), opts: {} },
    ...{ queueName: 'test', queueQualifiedName: 'bull:test', attemptsStarted: 0, attemptsMade: 0 },
    async moveToDelayed(time: number) {
      dueAt = time;
    },
    ...fields,
  };
  for (;;) {
    job.attemptsStarted++;
    try {
      return await processor(job as unknown as Job<Data>);
    } catch (error) {
      if ((error as Error).name !== 'DelayedError') throw error;
      await new Promise(resolve => setTimeout(resolve, dueAt - Date.now()));
    }
  }
}
