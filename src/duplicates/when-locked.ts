/** The option `whenLocked`: what a duplicate becomes, as it is written and as it is checked. */

import type { Holder } from '../cache/contract.ts';
import { checkFlag, checkMs, show } from '../lock/options.ts';

/** The duplicate is put off: it is tried again later, and costs none of its attempts. */
export interface RetryIn<Job = any> {
  /**
   * When it is tried again: in so many ms, or as many as the function says, or `'holder'`: when the holder's lease would end.
   * Up to a quarter is added at random, so that those who were put off together do not come back together.
   */
  readonly retryIn: number | 'holder' | ((job: Job, holder: Holder) => number | PromiseLike<number>);
  /**
   * How many times it is put off at most; then it fails with a {@link LockError}. `0` never puts it off.
   * @defaultValue no limit
   */
  readonly limit?: number;
}

/** The duplicate waits its turn, in whole ms; then it is skipped, or fails where `raiseIfLock` says so. */
export interface WaitFor {
  readonly waitFor: number;
}

/** Says what becomes of a duplicate: what it returns is the result, what it throws the failure. */
export type OnDuplicate<Job, Result> = (
  job: Job,
  holder: Holder,
) => Result | undefined | PromiseLike<Result | undefined>;

/**
 * What becomes of a job that finds its key held:
 * - `'skip'`: it completes with no result;
 * - `'raise'`: it fails with a {@link LockError}; its attempts and backoff apply;
 * - {@link RetryIn}: it is delayed, and tried again;
 * - {@link WaitFor}: it waits its turn in its slot of the worker;
 * - `'keep-last'`: the newest waits, and runs when the holder is done; those before it are skipped;
 * - a function: whatever it returns or throws.
 */
export type WhenLocked<Job = any, Result = any> =
  | 'skip'
  | 'raise'
  | 'keep-last'
  | RetryIn<Job>
  | WaitFor
  | OnDuplicate<Job, Result>;

/** {@link WhenLocked}, checked. */
export type Policy =
  | { readonly kind: 'skip' | 'raise' | 'keep-last' }
  | { readonly kind: 'retry'; readonly in: RetryIn['retryIn']; readonly limit: number }
  | { readonly kind: 'wait'; readonly ms: number; readonly raise: boolean }
  | { readonly kind: 'ask'; readonly answer: (...args: any[]) => unknown };

type Kind = Policy['kind'];
/** The kinds that need no job. */
export const PLAIN_KINDS: readonly Kind[] = ['skip', 'raise', 'wait', 'ask'];
export const ALL_KINDS: readonly Kind[] = [...PLAIN_KINDS, 'retry', 'keep-last'];

/**
 * Checks what is to become of a duplicate.
 * @param of - whose options they are, for errors.
 * @param kinds - those that there are.
 * @throws TypeError it is none of them, or says another thing than `raiseIfLock`.
 */
export function checkWhenLocked(
  { whenLocked, raiseIfLock }: { readonly whenLocked?: unknown; readonly raiseIfLock?: unknown },
  of: string,
  kinds: readonly Kind[],
): Policy {
  if (raiseIfLock !== undefined) checkFlag(raiseIfLock, of, 'raiseIfLock');
  if (whenLocked === undefined) return { kind: raiseIfLock ? 'raise' : 'skip' };
  const isWait = typeof whenLocked === 'object' && whenLocked !== null && 'waitFor' in whenLocked;
  if (raiseIfLock !== undefined && !isWait) {
    throw new TypeError(
      `${of}: options 'raiseIfLock' and 'whenLocked' say the same thing twice, give one of them ` +
        `(raiseIfLock: true is whenLocked: 'raise')`,
    );
  }
  const policy = policyOf(whenLocked, of, raiseIfLock === true);
  if (policy && kinds.includes(policy.kind)) return policy;
  const forms = kinds.map(kind => FORM_OF[kind]);
  const last = forms.at(-1);
  throw new TypeError(
    `${of}: option 'whenLocked' must be ${forms.slice(0, -1).join(', ')} or ${last}, not ${show(whenLocked)}`,
  );
}

/** How each kind is written. */
const FORM_OF: Record<Kind, string> = {
  skip: "'skip'",
  raise: "'raise'",
  'keep-last': "'keep-last'",
  retry: '{ retryIn: ms }',
  wait: '{ waitFor: ms }',
  ask: 'a function',
};

function policyOf(whenLocked: unknown, of: string, raise: boolean): Policy | undefined {
  if (whenLocked === 'skip' || whenLocked === 'raise' || whenLocked === 'keep-last') {
    return { kind: whenLocked };
  }
  if (typeof whenLocked === 'function') return { kind: 'ask', answer: whenLocked as () => unknown };
  if (typeof whenLocked !== 'object' || whenLocked === null) return undefined;
  if ('retryIn' in whenLocked) return retryOf(whenLocked as RetryIn, of);
  if ('waitFor' in whenLocked) {
    refuseOthers(whenLocked, of, ['waitFor']);
    checkMs(whenLocked.waitFor, of, 'whenLocked.waitFor', 0);
    return { kind: 'wait', ms: whenLocked.waitFor as number, raise };
  }
  return undefined;
}

function retryOf(form: RetryIn, of: string): Policy {
  refuseOthers(form, of, ['retryIn', 'limit']);
  const { retryIn, limit = Number.POSITIVE_INFINITY } = form;
  if (typeof retryIn !== 'function' && retryIn !== 'holder') {
    checkMs(retryIn, of, 'whenLocked.retryIn', 1, "'holder', or a function of the job and the holder");
  }
  if (limit !== Number.POSITIVE_INFINITY && !(Number.isSafeInteger(limit) && limit >= 0)) {
    throw new TypeError(
      `${of}: option 'whenLocked.limit' must be a whole number, 0 or more, not ${show(limit)}`,
    );
  }
  return { kind: 'retry', in: retryIn, limit };
}

function refuseOthers(form: object, of: string, known: readonly string[]): void {
  const other = Object.keys(form).find(name => !known.includes(name));
  if (other === undefined) return;
  throw new TypeError(
    `${of}: option 'whenLocked' has no '${other}' beside '${known[0]}'; there are: ${known.join(', ')}`,
  );
}
