/** Those who wait for a key in one process are served in the order in which they came, by whichever queue or connection. */

import type { Facts, JobFacts } from '../facts.ts';
import type { Check } from './check.ts';

interface Waiter {
  readonly job: JobFacts;
  readonly attempt: number;
  readonly process: object;
}

export function waiters(facts: Facts): Check {
  const { whenLocked, mode } = facts.options;
  if (!facts.haveOneForm) return {};
  if (typeof whenLocked !== 'object' || !('waitFor' in whenLocked) || mode === 'observe') return {};
  let waiting: Waiter[] = [];
  return {
    onReceived(job, model) {
      waiting.push({ job, attempt: model.attemptsStarted, process: model.queue.process });
    },
    onStarted(run) {
      const { job, attempt, process, lock } = run;
      const own = waiting.findIndex(
        one => one.job === job && one.attempt === attempt && one.process === process,
      );
      const earlier = waiting
        .slice(0, Math.max(own, 0))
        .filter(one => one.process === process && one.job.storedKey === job.storedKey && one.job !== job);
      waiting = waiting.filter((_, i) => i !== own);
      if (earlier.length === 0 || !lock.isGuarded || facts.concurrency > 1) return;
      const isOwn = [...facts.leases.values()].some(
        ({ owner, end }) => owner === job.owner && end !== undefined,
      );
      if (
        isOwn ||
        !facts.isCalm(
          'processUntil',
          'networkUntil',
          'serverUntil',
          'dataLostAt',
          'operatorAt',
          'serverJumpedAt',
        )
      )
        return;
      // One that has come back first asks whether it has the key already.
      const names = earlier.filter(one => one.attempt === 1).map(one => `job ${one.job.nth}`);
      if (names.length > 0)
        facts.violate(10, `job ${job.nth} runs before ${names.join(', ')}, which came to its process before`);
    },
    onProcessed(job, { attemptsStarted }) {
      waiting = waiting.filter(one => one.job !== job || one.attempt !== attemptsStarted);
    },
  };
}
