/** 10. `'in-order'`: jobs enter the line, and run, in the order in which they were handed out, but for those that the docs except. */

import type { Facts, JobFacts } from '../facts.ts';
import type { Check } from './check.ts';

export function inOrder(facts: Facts): Check {
  const { whenLocked, scope } = facts.options;
  if (whenLocked !== 'in-order' || !facts.haveOneForm || scope !== undefined) return {};
  // A job that was handed out ten seconds ago, by the clocks of the workers, is not waited for.
  if (facts.haveClocksFarApart) return {};
  const isStrict = ({ entry }: JobFacts): boolean => entry !== undefined && !entry.isLoose;
  const hasCome = (job: JobFacts): boolean => job.firstGrantAt !== undefined;

  /** Called when a job joins the line or acquires the key for the first time. */
  function checkEntry(job: JobFacts): void {
    if (!isStrict(job)) return;
    const overtaken = facts.jobs.filter(
      other =>
        other.storedKey === job.storedKey &&
        other !== job &&
        isStrict(other) &&
        (other.entry as { nth: number }).nth > (job.entry as { nth: number }).nth &&
        (facts.concurrency === 1 || (other.entry?.joined && job.entry?.joined)),
    );
    if (overtaken.length === 0) return;
    facts.violate(10, `job ${job.nth} comes to its key after ${names(overtaken)}, handed out later`);
  }

  function checkGrant(job: JobFacts): void {
    if (!isStrict(job)) return;
    const passed = facts.jobs.filter(
      other =>
        other.storedKey === job.storedKey &&
        isStrict(other) &&
        (other.entry as { nth: number }).nth < (job.entry as { nth: number }).nth &&
        !hasCome(other) &&
        other.endedAt === undefined,
    );
    if (passed.length < facts.concurrency) return;
    facts.violate(10, `job ${job.nth} acquires its key before ${names(passed)}, handed out earlier`);
  }

  return {
    onGranted({ job, isRepeated }) {
      if (!job || isRepeated || job.firstGrantAt !== facts.now) return;
      if (job.entry?.at === facts.now) checkEntry(job);
      checkGrant(job);
    },
    onRefused(_step, _result, job) {
      if (job?.entry?.at === facts.now) checkEntry(job);
    },
    onEvent({ type }, job) {
      if (type === 'skipped' && job && facts.dedupeFor === 0) {
        facts.violate(10, `job ${job.nth} is skipped`);
      }
    },
  };
}

function names(jobs: readonly JobFacts[]): string {
  return jobs.map(({ nth }) => `job ${nth}`).join(', ');
}
