/** 10. Where nothing is broken, the next of a line is promoted as soon as its key is free. */

import type { Facts, JobFacts } from '../facts.ts';
import type { QueueModel } from '../queue-model.ts';
import type { Check } from './check.ts';

/** Two round trips at the slowest, and a job that was parked in the same moment. In ms. */
const PROMPT_MS = 150;

export function promptness(facts: Facts, queues: readonly QueueModel[]): Check {
  const { whenLocked, scope, mode, maxHold } = facts.options;
  const parks = ['in-order', 'keep-last', 'replace', 'share'].includes(whenLocked as string);
  if (!parks || !facts.isOneVersion || scope !== undefined || facts.dedupeFor > 0 || mode === 'observe')
    return {};
  // A reservation that ends by itself promotes nobody.
  if (maxHold !== undefined) return {};
  const isCalm = (): boolean => Object.values(facts.troubles).every(at => at === Number.NEGATIVE_INFINITY);
  /** Those who were refused a place of a key and are parked for it. */
  const parked = new Map<string, Set<JobFacts>>();
  const parkedFor = (storedKey: string): Set<JobFacts> => {
    const jobs = parked.get(storedKey) ?? new Set<JobFacts>();
    parked.set(storedKey, jobs);
    return jobs;
  };

  const changedAt = new Map<string, number>();
  /** Keys that were reserved for a job that has ended: who frees one does not promote a job that was parked within the last second. */
  const freed = new Set<string>();
  const noteChange = (storedKey: string): void => {
    changedAt.set(storedKey, facts.now);
    if (isCalm()) facts.after(PROMPT_MS, () => check(storedKey));
  };

  /** For each free place someone who is parked is waiting, active or gone by now. */
  function check(storedKey: string): void {
    const isAtRest = (changedAt.get(storedKey) ?? 0) <= facts.now - PROMPT_MS;
    if (
      freed.has(storedKey) ||
      !isCalm() ||
      !isAtRest ||
      facts.leasesOf(storedKey).length >= facts.concurrency
    )
      return;
    const jobs = [...parkedFor(storedKey)];
    if (jobs.length === 0) return;
    // A job whose id was chosen is read before it is promoted. A worker that closes in that moment does not.
    const isJustDeployed = facts.deployedAt > facts.now - 2 * PROMPT_MS;
    if (isJustDeployed && jobs.some(({ isNumbered }) => !isNumbered)) return;
    const awake = jobs.filter(job => queues[job.queue]?.get(job.id)?.state !== 'delayed');
    const toPromote = Math.min(jobs.length, facts.concurrency - facts.leasesOf(storedKey).length);
    if (awake.length >= toPromote) return;
    facts.violate(
      10,
      `the key is free for ${toPromote} of ${jobs.map(({ nth }) => `job ${nth}`).join(', ')}, and ${awake.length} are promoted`,
    );
  }

  return {
    onRefused({ storedKey }, result, job) {
      if (!job || !('standing' in result)) return;
      noteChange(storedKey);
      const jobs = parkedFor(storedKey);
      if (result.standing?.is === 'in-line') jobs.add(job);
      else jobs.delete(job);
      if (
        'standing' in result &&
        result.standing?.is === 'in-line' &&
        result.standing.outdone !== undefined
      ) {
        const outdone = facts.byOwner.get(result.standing.outdone);
        if (outdone) jobs.delete(outdone);
      }
    },
    onGranted({ step, job }) {
      noteChange(step.storedKey);
      if (job) parkedFor(step.storedKey).delete(job);
      if (whenLocked === 'keep-last' || whenLocked === 'replace') parkedFor(step.storedKey).clear();
    },
    onReleased: ({ storedKey }) => noteChange(storedKey),
    onFreed: ({ storedKey }) => {
      freed.add(storedKey);
    },
  };
}
