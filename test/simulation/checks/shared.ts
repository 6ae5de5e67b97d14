/** 10. `'share'` and a job that runs again after its work was done: a job gets only what a run of its key has returned, and none that was too old. */

import { isDeepStrictEqual } from 'node:util';
import { MAX_RESULT_BYTES } from '../../../src/lock/kept-result.ts';
import { doneFor, type Facts, type JobFacts } from '../facts.ts';
import type { Check } from './check.ts';

/** What is parked when the work is done has a ttl to come for the result; more where its server, or its process, stands still. */
const SLACK_MS = 1000;
/** A datastore's clock counts whole ms: its times are over up to two ms early. */
const MS_OF_CLOCK = 2;
/** A result is read after the answer that says that the work was done. */
const READ_MS = 100;

export function shared(facts: Facts): Check {
  const { whenLocked, mode } = facts.options;
  if (mode === 'observe' || !facts.haveOneForm) return {};
  /** Those who were told that they share. */
  const sharing = new Map<JobFacts, string | undefined>();
  /** What those completed with who shared, by their owners. One that is to share their result gets that. */
  const shares = new Map<string, unknown>();

  /** Those who are parked for a key. */
  const parked = new Set<JobFacts>();
  /** Those who were parked when the work was done, and until when they may come for the result. */
  const awaited = new Map<JobFacts, number>();
  /** Until when those may come who have left the line with a result, which may be of other data. */
  const leftUntil = new Map<JobFacts, number>();

  /** When a job may have come to its key first. */
  function cameAt(job: JobFacts): number {
    return job.handouts[0]?.at ?? 0;
  }

  return {
    onRefused(_step, result, job) {
      if (!job || !('standing' in result) || result.standing?.is !== 'in-line') return;
      parked.add(job);
      leftUntil.delete(job);
    },
    onGranted({ job }) {
      if (!job) return;
      parked.delete(job);
      leftUntil.delete(job);
    },
    onReleased(step, lease) {
      const { storedKey, result } = step;
      // Callers that share nothing let nobody leave the line.
      const isForAll = 'line' in step && step.line === 'together';
      if (whenLocked !== 'share' || !isForAll || !result || !lease) return;
      // A caller has no data: what it returns is for all.
      const amount = facts.byOwner.get(lease.owner)?.amount;
      const isFor = (job: JobFacts): boolean => amount === undefined || job.amount === amount;
      // A result of other data takes the place of theirs: they run.
      for (const job of awaited.keys()) {
        if (job.storedKey === storedKey && !isFor(job)) awaited.delete(job);
      }
      for (const job of parked) {
        if (job.storedKey !== storedKey) continue;
        // A later result serves it for as long as it had.
        const until = leftUntil.get(job) ?? facts.now + lease.ttl;
        leftUntil.set(job, until);
        const isAlike = facts.options.match === undefined || isFor(job);
        if (!isAlike) continue;
        parked.delete(job);
        awaited.set(job, until);
      }
    },
    onFreed({ storedKey }) {
      // The result is forgotten.
      for (const job of awaited.keys()) if (job.storedKey === storedKey) awaited.delete(job);
    },
    onStarted({ job }) {
      const until = awaited.get(job);
      if (until === undefined || facts.now > until - MS_OF_CLOCK || !isCalm()) return;
      facts.violate(10, `job ${job.nth} runs, and the work that it has waited for was done`);
    },
    onEvent(event, job) {
      // It has done the work itself, and what it returned was too large to be kept.
      const isItsOwn = event.type === 'skipped' && event.holder?.owner === job?.owner;
      if (!job || (event.type !== 'shared' && !isItsOwn)) return;
      sharing.set(job, event.holder?.owner);
      awaited.delete(job);
    },
    onProcessed(job, model, outcome) {
      if (!('value' in outcome) || job.runs.some(run => run.model === model)) return;
      const holder = sharing.get(job);
      sharing.delete(job);
      const { value } = outcome;
      if (whenLocked === 'share' && holder === undefined) {
        facts.violate(10, `job ${job.nth} completes without a run, and shares nothing`);
      }
      if (holder === undefined) return;
      if (value === undefined) {
        const done = doneFor(facts, job).filter(({ owner }) => owner === holder);
        // A caller of a lock keeps none. A job's own may be over when it is read.
        const isKept = facts.byOwner.has(holder) && (holder !== job.owner || done.every(lastsStill));
        if (isKept && done.length > 0 && done.every(isSmall) && isCalm()) {
          facts.violate(10, `job ${job.nth} shares a result, and gets none`);
        }
        return;
      }
      const same = doneFor(facts, job).filter(done => isDeepStrictEqual(done.value, value));
      if (same.length === 0) facts.violate(10, `job ${job.nth} shares a result that no work has returned`);
      const isOfHolder =
        same.some(({ owner }) => owner === holder) || isDeepStrictEqual(shares.get(holder), value);
      shares.set(job.owner, value);
      if (!isOfHolder) {
        facts.violate(10, `job ${job.nth} shares the result of another job than it is told`);
      }
      if (holder === job.owner || !isCalm()) return;
      const isFresh = same.some(
        ({ endedAt = Infinity }) => endedAt + facts.dedupeFor + SLACK_MS >= cameAt(job),
      );
      if (!isFresh) facts.violate(10, `job ${job.nth} shares a result of before it came`);
      const other = facts.byOwner.get(holder);
      // A caller has no data.
      if (facts.options.match && other && other.amount !== job.amount) {
        facts.violate(10, `job ${job.nth} shares the result of a job that it does not match`);
      }
    },
    atEnd() {
      // A result that is kept is found, unless something was broken.
      if (whenLocked !== 'share' || !isCalm()) return;
      for (const job of facts.jobs) {
        if (!job.wasSkipped || job.successes > 0) continue;
        if (doneFor(facts, job).length === 0)
          facts.violate(10, `job ${job.nth} was told of work that was done, and nobody has done it`);
      }
    },
  };

  /** One that is too large is read from its job, which may be gone or may run again. */
  function isSmall({ value }: { readonly value: unknown }): boolean {
    const json = JSON.stringify(value);
    return json !== undefined && Buffer.byteLength(json) <= MAX_RESULT_BYTES;
  }

  function lastsStill({ endedAt = 0 }: { readonly endedAt: number | undefined }): boolean {
    return endedAt + facts.dedupeFor > facts.now + READ_MS;
  }

  function isCalm(): boolean {
    return Object.values(facts.troubles).every(at => at === Number.NEGATIVE_INFINITY);
  }
}
