/** 9. A job that has failed keeps its backoff, and one that was added with a delay, or has delayed itself, that: only parked jobs are promoted. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

export function keepsDelay(facts: Facts): Check {
  return {
    onPromoted(job, { attemptsStarted }) {
      const isOperators = facts.troubles.operatorAt === facts.now;
      const isParked = attemptsStarted > 0 && !job.runs.some(({ attempt }) => attempt === attemptsStarted);
      // A server that took over counts the job's starts anew. A promotion may be under way while its connection is lost.
      const isCalm = facts.isCalm('dataLostAt', 'networkUntil', 'processUntil', 'serverUntil');
      if (isParked || isOperators || !isCalm) return;
      facts.violate(9, `job ${job.nth} is promoted before its delay is over, though it was not parked`);
    },
  };
}
