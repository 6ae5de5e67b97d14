/** `{ delay }`: a duplicate is moved to BullMQ's delayed set and tried again, which costs no attempt. */

import { countDelays, delayJob, mayStartAgain } from '../bullmq/delay.ts';
import type { RunningJob } from '../bullmq/job.ts';
import type { Holder } from '../core/holder.ts';
import { count, ms, type Parser, show, withDefault } from '../core/validation.ts';
import { raiseDuplicate } from './skip-or-raise.ts';
import { type DuplicateStrategy, type GuardedJob, parseForm, plain, type StrategyForm } from './strategy.ts';

/** The duplicate is delayed and tried again. It costs none of its attempts. */
export interface Delay<Job = any> {
  /**
   * When it is tried again: in this many ms, in as many as the function returns, or `'holder'`: when the holder's lease would
   * end. Up to a quarter is added at random, so that duplicates that were delayed together do not come back together.
   */
  readonly delay: number | 'holder' | ((job: Job, holder: Holder) => number | PromiseLike<number>);
  /**
   * How often it is delayed at most; then it fails with a {@link LockError}. `0` never delays it.
   * @defaultValue no limit
   */
  readonly limit?: number;
}

type DelayTime = Delay['delay'];

const delayTime: Parser<DelayTime> = (value, option) =>
  typeof value === 'function' || value === 'holder'
    ? (value as DelayTime)
    : ms(1, "'holder', or a function of the job and the holder")(value, option);

const limit: Parser<number> = (value, option) =>
  value === Number.POSITIVE_INFINITY ? value : count(value, option);

export const delayForm: StrategyForm<GuardedJob> = {
  usage: '{ delay: ms }',
  parse(whenLocked, context) {
    const form = parseForm(whenLocked, context, 'delay', {
      delay: delayTime,
      limit: withDefault(Number.POSITIVE_INFINITY, limit),
    });
    return form && delayed(form);
  },
};

function delayed({ delay, limit }: Required<Delay>): DuplicateStrategy<GuardedJob> {
  return {
    ...plain,
    outcome: 'delayed',
    async onHeld({ job, token, request }, holder) {
      if (countDelays(job) >= limit || !mayStartAgain(job)) raiseDuplicate(request, holder);
      const ms = await delayMs(delay, job, holder, request.terms.ttl);
      const moved = await delayJob(job, token, ms * (1 + Math.random() / 4));
      request.emitOutcome('delayed', holder);
      throw moved;
    },
  };
}

async function delayMs(delay: DelayTime, job: RunningJob, holder: Holder, ttl: number): Promise<number> {
  if (delay === 'holder') return msUntilFree(holder, ttl);
  if (typeof delay === 'number') return delay;
  const ms: unknown = await delay(job, holder);
  if (typeof ms === 'number' && Number.isFinite(ms) && ms >= 0) return Math.max(ms, 1);
  throw new TypeError(
    `onceProcessor: the function of option 'whenLocked.delay' must return a number of milliseconds, not ${show(ms)}`,
  );
}

/** In how many ms the holder's lease would end if it crashed now; a `ttl` where it never would. A reservation ends when it is due. */
export function msUntilFree(holder: Holder, ttl: number): number {
  if (holder.state === 'reserved') return Math.max(holder.dueIn ?? 0, ttl / 4);
  return Number.isFinite(holder.expiresIn) ? Math.max(holder.expiresIn, 1) : ttl;
}
