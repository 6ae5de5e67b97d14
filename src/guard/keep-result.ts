/** Whether the result of work is kept: where its key stays held as done, or others are parked for it. */

import type { RunningJob } from '../bullmq/job.ts';
import { isRefusedByQueue } from '../bullmq/job-result.ts';
import { isInMemory } from '../cache/registry.ts';
import { keptResult, MAX_RESULT_BYTES } from '../lock/kept-result.ts';
import type { Ending } from '../lock/lock-handle.ts';
import type { LockRequest } from '../lock/lock-request.ts';

/**
 * Keeps what a job returned. One that is too large is found where BullMQ keeps the job. BullMQ fails a job whose result JSON refuses, or its
 * datastore: those that wait for it do the work themselves, unless the key stays held as done.
 */
export function keeperOfJob(request: LockRequest, dedupeFor: number, { queue }: RunningJob): Ending['keep'] {
  if (!isKept(request, dedupeFor)) return undefined;
  return result => {
    const kept = keptResult(request.terms, result, { isRefused: json => isRefusedByQueue(queue, json) });
    return kept.problem === 'refused' && dedupeFor === 0 ? undefined : kept;
  };
}

/**
 * Keeps what a call returned. A result that is too large, or that JSON refuses, is nowhere else: those that wait for it do the work
 * themselves, unless the key stays held as done. The memory of the process takes any size.
 */
export function keeperOfCall(request: LockRequest, dedupeFor: number): Ending['keep'] {
  if (!isKept(request, dedupeFor)) return undefined;
  const maxBytes = isInMemory(request.cache) ? Number.POSITIVE_INFINITY : MAX_RESULT_BYTES;
  return result => {
    const kept = keptResult(request.terms, result, { maxBytes });
    return kept.problem && dedupeFor === 0 ? undefined : kept;
  };
}

function isKept({ cache, terms }: LockRequest, dedupeFor: number): boolean {
  return cache.results !== undefined && (dedupeFor > 0 || terms.line?.kind === 'together');
}
