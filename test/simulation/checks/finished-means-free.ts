/** 6. Who learns from BullMQ that a job has finished does not find its key held by it. In the end all keys are free. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

export function finishedMeansFree(facts: Facts): Check {
  return {
    onFinished(job, { attemptsStarted }) {
      const run = job.runs.findLast(({ attempt }) => attempt === attemptsStarted);
      // Observed work does not wait for its release.
      if (run?.endedAt === undefined || !run.lock.isGuarded || facts.options.mode === 'observe') return;
      const held = facts
        .leasesOf(job.storedKey)
        .find(({ owner, fence, state }) => owner === job.owner && fence === run.lock.fence && state === 'held');
      if (!held) return;
      const { serverUntil, networkUntil, processUntil } = facts.troubles;
      const wasTroubled = Math.max(serverUntil, networkUntil, processUntil) >= run.endedAt - held.ttl;
      if (!wasTroubled) facts.violate(6, `job ${job.nth} has finished, and its key is held by it`);
    },
    atEnd() {
      for (const { owner, state } of facts.allLeases()) {
        if (state === 'held') facts.violate(6, `the key is held by ${facts.nameOf(owner)} when all is over`);
      }
    },
  };
}
