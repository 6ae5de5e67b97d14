/** Knows the workers of this process, so that the jobs of one queue can promote those of another that shares their locks. */

import { processWide } from '../core/process-wide.ts';
import type { RunningJob, WorkerLike } from './job.ts';

const workers = processWide('workers', () => new Map<string, WeakRef<WorkerLike>>());

/** Remembers the worker of a job. */
export function noteWorker({ queue, queueQualifiedName }: RunningJob): void {
  if (queue && workers.get(queueQualifiedName)?.deref() !== queue)
    workers.set(queueQualifiedName, new WeakRef(queue));
}

/** The worker of a queue: the asking job's own, or another of this process; `undefined` where there is none, or in a sandbox. */
export function workerOf(asking: RunningJob, queueQualifiedName: string): WorkerLike | undefined {
  if (asking.queue === undefined) return undefined;
  if (queueQualifiedName === asking.queueQualifiedName) return asking.queue;
  const worker = workers.get(queueQualifiedName)?.deref();
  return worker?.closing ? undefined : worker;
}
