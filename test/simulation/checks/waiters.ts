/** 10. Those who wait for a key in one process are served in the order in which they came, by whichever queue or connection. */

import { type Call, type Facts, isRun, type JobFacts } from '../facts.ts';
import { waitsInSlot } from '../plan.ts';
import type { Check } from './check.ts';

/** A job, or a caller. They are not compared with each other: the first job of a worker looks for its cache before it asks. */
interface Waiter {
  readonly who: JobFacts | Call;
  readonly name: string;
  /** When its time is over it asks once more, wherever it stands. */
  readonly until: number;
  /** 0: it is a caller. */
  readonly attempt: number;
  readonly storedKey: string;
  readonly process: object;
}

/** The clock of a process may be so much faster. */
const CLOCKS_DIFFER = 0.97;

/** That a function runs is not seen, but that its call has acquired the key is. */
function hasRun({ who }: Waiter): boolean {
  return 'plan' in who && 'how' in who.plan && who.plan.how === 'once' && who.owner !== undefined;
}

/** It may have the key already: it asks for that before it waits. */
function asksFirst({ who, attempt }: Waiter): boolean {
  return attempt > 1 || ('plan' in who && 'how' in who.plan && who.plan.owner !== undefined);
}

export function waiters(facts: Facts): Check {
  const { whenLocked, mode } = facts.options;
  const doJobsWait = facts.haveOneForm && waitsInSlot(whenLocked) && mode !== 'observe';
  let waiting: Waiter[] = [];

  function leave(isOne: (waiter: Waiter) => boolean): void {
    waiting = waiting.filter(waiter => !isOne(waiter));
  }

  /** @returns those who came before the one that is served now, and wait. */
  function takeOut(isOne: (waiter: Waiter) => boolean): Waiter[] {
    const at = waiting.findIndex(isOne);
    const own = waiting[at];
    if (!own) return [];
    const earlier = waiting.slice(0, at).filter(one => {
      const isSameKind = (one.attempt === 0) === (own.attempt === 0);
      return (
        isSameKind && one.process === own.process && one.storedKey === own.storedKey && one.who !== own.who
      );
    });
    leave(one => one === own);
    return facts.now < own.until ? earlier : [];
  }

  function isCalm(): boolean {
    const kinds = ['processUntil', 'networkUntil', 'serverUntil', 'dataLostAt', 'operatorAt'] as const;
    return facts.isCalm(...kinds, 'serverJumpedAt');
  }

  return {
    onReceived(job, model) {
      if (!doJobsWait) return;
      const { attemptsStarted: attempt, queue } = model;
      const { nth, storedKey } = job;
      const until = facts.now + whenLocked.waitFor * CLOCKS_DIFFER;
      waiting.push({ who: job, name: `job ${nth}`, until, attempt, storedKey, process: queue.process });
    },
    onCalled(call) {
      const { name, storedKey, process, plan } = call;
      // One that shares a result waits for that, and in no queue.
      const shares = plan.how === 'once' && plan.shares;
      if (plan.waitFor === 0 || plan.how === 'tryAcquire' || shares) return;
      const until = facts.now + plan.waitFor * CLOCKS_DIFFER;
      waiting.push({ who: call, name, until, attempt: 0, storedKey, process });
    },
    onWork(work) {
      const { name, owner, process, lock } = work;
      const attempt = isRun(work) ? work.attempt : 0;
      const earlier = takeOut(one => one.name === name && one.attempt === attempt && one.process === process);
      if (earlier.length === 0 || !lock.isGuarded || facts.concurrency > 1 || !isCalm()) return;
      // One that has the key already does not wait for it.
      if ([...facts.leases.values()].some(lease => lease.owner === owner && lease.end !== undefined)) return;
      const names = earlier.filter(one => !asksFirst(one) && !hasRun(one)).map(one => one.name);
      if (names.length > 0)
        facts.violate(10, `${name} runs before ${names.join(', ')}, which came to its process before`);
    },
    onProcessed(job, { attemptsStarted }) {
      leave(({ who, attempt }) => who === job && attempt === attemptsStarted);
    },
    onCallEnded(call) {
      leave(({ who }) => who === call);
    },
  };
}
