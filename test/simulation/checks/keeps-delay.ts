/** 9. A job that has failed keeps its backoff, and one that was added with a delay, or has delayed itself, that: only parked jobs are promoted. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

/** A promotion that was sent when the job was parked still is on its way for so long at most, in ms. */
const ON_ITS_WAY_MS = 15;

export function keepsDelay(facts: Facts): Check {
  // Under another form a job runs and stays in the line. Where a version takes the key for one of one place, it believes who was next.
  if (!facts.haveOneForm || !facts.haveOneConcurrency) return {};
  return {
    onPromoted(job, { attemptsStarted }) {
      const isOperators = facts.troubles.operatorAt === facts.now;
      const run = job.runs.find(({ attempt }) => attempt === attemptsStarted);
      const isParked = attemptsStarted > 0 && !run;
      const isOnItsWay = run && facts.now - run.startedAt <= ON_ITS_WAY_MS;
      // A server that took over counts the job's starts anew. A promotion may be under way while its connection is lost. A holder whose lease
      // a jump of the server's clock has ended does not know yet that who was next has run.
      const isCalm = facts.isCalm(
        'dataLostAt',
        'networkUntil',
        'processUntil',
        'serverUntil',
        'serverJumpedAt',
      );
      if (isParked || isOnItsWay || isOperators || !isCalm) return;
      facts.violate(9, `job ${job.nth} is promoted before its delay is over, though it was not parked`);
    },
  };
}
