/** Finds the duplicates of a job in a journal, and says in a sentence what became of each. */

import type { DuplicateRecord } from '../cache/contract.ts';
import { nameOfHolder } from '../core/holder.ts';
import { shown } from '../core/printable.ts';
import { boundOwner } from '../key/owner-id.ts';

/** The duplicates that are jobs with this id. A long id is kept in its short form, and may be given in it. */
export function duplicatesOf(duplicates: readonly DuplicateRecord[], jobId: string): DuplicateRecord[] {
  const isMeant = isIdOf(jobId);
  // Each process writes its own.
  return duplicates.filter(duplicate => isMeant(duplicate.jobId)).sort((a, b) => a.at - b.at);
}

/** Creates a function that says whether an id, as it is kept, is that of a job. */
export function isIdOf(jobId: string): (keptId: string | undefined) => boolean {
  const bound = boundOwner(jobId);
  return keptId => keptId === jobId || keptId === bound;
}

/** `skipped: 'welcome-42' was held by job 16 of emails`. For people: printable, and not too long. */
export function describeDuplicate({ outcome, observed, key, holder }: DuplicateRecord): string {
  // Whoever can write to the datastore may have written it.
  const what = `${observed ? 'would have been ' : ''}${shown(outcome)}`;
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
