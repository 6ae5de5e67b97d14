/**
 * Knows the workers of this process, so that the jobs of one queue can promote those of another that shares their locks. Queues of two
 * datastores may have one name: those are not mixed up.
 */

import type { LockCache } from '../cache/contract.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { processWide } from '../core/process-wide.ts';
import type { RunningJob, WorkerLike } from './job.ts';

/** The workers by the names of their queues. */
type Workers = Map<string, WeakRef<WorkerLike>>;

/** By the datastore of their locks. A cache that names none is one of its own. */
const { ofDatastores, ofCaches } = processWide('workers-by-datastore', () => ({
  ofDatastores: new Map<string, Workers>(),
  ofCaches: new WeakMap<LockCache, Workers>(),
}));

/** Remembers the worker of a job, whose lock is kept in a cache. */
export function noteWorker({ queue, queueQualifiedName }: RunningJob, cache: LockCache): void {
  if (!queue) return;
  const workers = workersBy(cache);
  if (workers.get(queueQualifiedName)?.deref() !== queue) workers.set(queueQualifiedName, new WeakRef(queue));
}

/** The worker of a queue: the asking job's own, or another of this process; `undefined` where there is none, or in a sandbox. */
export function workerOf(
  asking: RunningJob,
  queueQualifiedName: string,
  cache: LockCache,
): WorkerLike | undefined {
  if (asking.queue === undefined) return undefined;
  if (queueQualifiedName === asking.queueQualifiedName) return asking.queue;
  const worker = workersBy(cache).get(queueQualifiedName)?.deref();
  return worker?.closing ? undefined : worker;
}

function workersBy(cache: LockCache): Workers {
  const create = (): Workers => new Map();
  return getOrCreate(ofCaches, cache, () =>
    cache.datastore === undefined ? create() : getOrCreate(ofDatastores, cache.datastore, create),
  );
}
