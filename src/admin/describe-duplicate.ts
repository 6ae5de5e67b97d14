/** Finds the duplicates of a job in a journal, and says in a sentence what became of each. */

import { OUTCOME_WORDS } from '../bullmq/job-events.ts';
import type { DuplicateRecord } from '../cache/contract.ts';
import { nameOfHolder } from '../core/holder.ts';
import { shown } from '../core/printable.ts';
import { boundOwner } from '../key/owner-id.ts';

/** @param jobId - as BullMQ has it, or as a journal does: a long one keeps its beginning, and ends in a hash. */
export function duplicatesOf(jobId: string, duplicates: readonly DuplicateRecord[]): DuplicateRecord[] {
  const ids = [jobId, boundOwner(jobId)];
  return duplicates.filter(duplicate => ids.includes(duplicate.jobId));
}

/** `skipped: 'welcome-42' was held by job 16 of emails`. For people: printable, and not too long. */
export function describeDuplicate({ outcome, observed, key, holder }: DuplicateRecord): string {
  // What a later release has written may have an outcome of its own.
  const what = `${observed ? 'would have been ' : ''}${OUTCOME_WORDS[outcome] ?? shown(outcome)}`;
  return `${what}: '${shown(key)}' ${holder ? describePast(holder) : 'had a newer job'}`;
}

function describePast(holder: NonNullable<DuplicateRecord['holder']>): string {
  const { state } = holder;
  if (state === 'foreign') return "was held by a value that is not a lock's";
  if (state === 'parked') return `had ${nameOfHolder(holder)} next in its line`;
  if (state === 'done') return `had been done by ${nameOfHolder(holder)}`;
  if (state === 'reserved') return `was reserved by ${nameOfHolder(holder)}, which was to run again`;
  return `was held by ${nameOfHolder(holder)}`;
}
