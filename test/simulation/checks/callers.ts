/**
 * 8 and 9, of callers: a call of `once`, or of a `Lock`, is refused only where its key was held, and ends with what its work has returned or
 * thrown. 2 and 6: once its handle is released, the key is not held by it.
 */

import { isDeepStrictEqual } from 'node:util';
import { type Call, doneFor, type Facts } from '../facts.ts';
import type { Check } from './check.ts';

/** Who waits may ask a last time when its time is over, and other callers may be served first. In ms. */
const LATE_MS = 200;
/** Clocks run at different speeds. */
const CLOCKS_DIFFER = 0.03;

export function callers(facts: Facts): Check {
  const isTroubled = (): boolean =>
    !facts.isCalm('serverUntil', 'networkUntil', 'processUntil', 'dataLostAt', 'serverJumpedAt');
  /** Those who wait for a key in one process share what the first of them finds. */
  const isRefused = ({ storedKey, calledAt }: Call): boolean =>
    (facts.refusedAt.get(storedKey) ?? Number.NEGATIVE_INFINITY) >= calledAt;

  /** When a key was last found to be held only because its work was done. */
  const doneAt = new Map<string, number>();
  const isDone = ({ storedKey, calledAt }: Call): boolean => (doneAt.get(storedKey) ?? -1) >= calledAt;

  function checkRefused(call: Call): void {
    if (!isRefused(call)) facts.violate(8, `${call.name} is refused its key, and nobody held it`);
    const { waitFor } = call.plan;
    const took = facts.now - call.calledAt;
    const isLate =
      took > waitFor + LATE_MS ||
      (call.plan.how !== 'tryAcquire' && took < waitFor * (1 - CLOCKS_DIFFER) - 1);
    if (isLate && !isTroubled()) {
      facts.violate(8, `${call.name} is refused its key after ${took} ms, and was to wait for ${waitFor} ms`);
    }
  }

  function checkShared(call: Call, value: unknown): void {
    if (!isRefused(call)) facts.violate(8, `${call.name} shares a result, and nobody held its key`);
    // A result that is too large is not kept.
    if (value === undefined) return;
    const isResult = doneFor(facts, call).some(done => isDeepStrictEqual(done.value, value));
    if (!isResult) facts.violate(10, `${call.name} shares a result that no work has returned`);
  }

  return {
    onRefused({ storedKey }, { record }) {
      if (record?.state === 'done') doneAt.set(storedKey, facts.now);
    },
    onHandleReleased({ name, owner, storedKey, lock, signal }, released) {
      const lease = [...facts.leases.values()].findLast(
        one => one.owner === owner && one.fence === lock.fence,
      );
      if (released && lease?.state === 'held') {
        facts.violate(6, `${name} has released ${storedKey}, and its key is held by it`);
      }
      if (!released && !signal.aborted && lease?.end === 'released' && !isTroubled()) {
        facts.violate(2, `${name} is told that it had lost its lock, and it has released it itself`);
      }
    },
    onCallEnded(call, outcome) {
      const { name, plan } = call;
      if (call.outcome) {
        const isSame =
          'value' in outcome
            ? 'value' in call.outcome && call.outcome.value === outcome.value
            : 'error' in call.outcome && call.outcome.error === outcome.error;
        if (!isSame) facts.violate(9, `what the work of ${name} returned or threw does not come out`);
        return;
      }
      if ('value' in outcome && plan.how === 'once' && plan.shares) {
        checkShared(call, outcome.value);
        return;
      }
      if ('value' in outcome) {
        const mayBeSkipped =
          plan.how === 'tryAcquire' || (plan.how === 'once' && (!plan.raises || isDone(call)));
        if (outcome.value !== undefined || !mayBeSkipped)
          facts.violate(9, `${name} ends with a value, and its work did not run`);
        checkRefused(call);
        return;
      }
      const error = outcome.error as Error;
      if (error.name === 'LockError') {
        const mayRaise = plan.how === 'acquire' || plan.how === 'run' || plan.raises === true;
        if (!mayRaise) facts.violate(8, `${name} is raised`);
        checkRefused(call);
      } else if (error.name !== 'CacheError') {
        facts.violate(9, `${name} fails with an error that is nobody's: ${error.stack}`);
      } else if (!isTroubled()) {
        facts.violate(8, `${name} fails with a CacheError, and nothing was broken: ${error.message}`);
      }
    },
  };
}
