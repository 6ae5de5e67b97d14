/** 6. Who learns from BullMQ that a job has finished does not find its key held by it. In the end all keys are free. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

/** The last part of a ttl, in which the holder counts its lease as lost, and what clocks may differ. */
const UNSAFE_PART = 0.15;
/** A lease is counted from before its request was sent. */
const LATENCY_MS = 20;

export function finishedMeansFree(facts: Facts): Check {
  return {
    onFinished(job, { attemptsStarted }) {
      const run = job.runs.findLast(({ attempt }) => attempt === attemptsStarted);
      // Observed work does not wait for its release.
      if (run?.endedAt === undefined || !run.lock.isGuarded || facts.options.mode === 'observe') return;
      const held = facts
        .leasesOf(job.storedKey)
        .find(
          ({ owner, fence, state }) => owner === job.owner && fence === run.lock.fence && state === 'held',
        );
      if (!held) return;
      const { serverUntil, networkUntil, processUntil, serverJumpedAt } = facts.troubles;
      // The datastore may keep a lease for longer that its holder counts as lost.
      if (serverJumpedAt >= held.grantedAt) return;
      const troubledAt = Math.max(serverUntil, networkUntil, processUntil);
      // A release is not waited for when its lease is no longer safe.
      const isSafe = held.expiresAt - facts.serverNow > held.ttl * UNSAFE_PART + LATENCY_MS;
      if (troubledAt < run.endedAt - held.ttl && isSafe)
        facts.violate(6, `job ${job.nth} has finished, and its key is held by it`);
    },
    atEnd() {
      for (const { owner, state } of facts.allLeases()) {
        if (state === 'held') facts.violate(6, `the key is held by ${facts.nameOf(owner)} when all is over`);
      }
    },
  };
}
