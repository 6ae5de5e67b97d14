/** Records what a cache is asked, and what it answers. */

import type {
  AcquireResult,
  AcquireStep,
  Batch,
  BatchResults,
  EnterResult,
  EnterStep,
  Lines,
  ReleaseStep,
} from '../../src/cache/contract.ts';
import type { Recorder } from './history.ts';

interface Recordable extends Partial<Lines> {
  exchange(batch: Batch): Promise<BatchResults>;
}

/** @param cache - the prototype of a class of caches, so that the caches that the guard makes for itself are recorded too. */
export function recordCalls(cache: Recordable, recorder: Recorder): void {
  recordExchange(cache, recorder);
  const { enter, leave, strikeOut } = cache;
  if (!enter || !leave || !strikeOut) return;
  cache.enter = function (steps) {
    for (const step of steps) recordAcquire(step, recorder);
    return withAnswers(enter.call(this, steps), steps, (step, answer) =>
      recordAcquired(step, answer, recorder),
    );
  };
  cache.leave = function (steps) {
    for (const step of steps) recordRelease(step, recorder);
    return withAnswers(leave.call(this, steps), steps, ({ token }, answer) => {
      const released = answer instanceof Error ? answer : answer?.released;
      recorder.record({ event: 'released', token, ...decided(released) });
    });
  };
  cache.strikeOut = function (steps) {
    for (const { storedKey, owner } of steps) recorder.record({ event: 'strike', storedKey, owner });
    return strikeOut.call(this, steps);
  };
}

function recordExchange(cache: Recordable, recorder: Recorder): void {
  const { exchange } = cache;
  cache.exchange = function (batch: Batch): Promise<BatchResults> {
    const { acquisitions, renewals, releases } = batch;
    for (const step of releases) recordRelease(step, recorder);
    for (const { token, ttl } of renewals) recorder.record({ event: 'renew', token, ttl });
    for (const step of acquisitions) recordAcquire(step, recorder);
    const results = exchange.call(this, batch);
    results.then(
      all => recordResults(batch, all, recorder),
      () => recordResults(batch, NONE, recorder),
    );
    return results;
  };
}

function recordResults(
  { acquisitions, renewals, releases }: Batch,
  { acquired, renewed, released }: BatchResults,
  recorder: Recorder,
): void {
  for (const [i, { token }] of releases.entries()) {
    recorder.record({ event: 'released', token, ...decided(released[i]) });
  }
  for (const [i, { token }] of renewals.entries()) {
    recorder.record({ event: 'renewed', token, ...decided(renewed[i]) });
  }
  for (const [i, step] of acquisitions.entries()) recordAcquired(step, acquired[i], recorder);
}

const NONE: BatchResults = { acquired: [], renewed: [], released: [] };

function recordAcquire(step: AcquireStep & Partial<EnterStep>, recorder: Recorder): void {
  const { storedKey, token, owner, attempt, ttl, places, line } = step;
  const ofLine = { ...(places !== undefined && { places }), ...(line !== undefined && { line }) };
  recorder.record({ event: 'acquire', storedKey, token, owner, attempt, ttl, ...ofLine });
}

function recordRelease({ token, dedupeFor, reservation }: ReleaseStep, recorder: Recorder): void {
  const reserved = reservation ? { reservedFor: reservation.lastsFor } : {};
  recorder.record({ event: 'release', token, dedupeFor, ...reserved });
}

function recordAcquired(
  { token }: AcquireStep,
  answer: AcquireResult | EnterResult | Error | undefined,
  recorder: Recorder,
): void {
  if (!answer || answer instanceof Error) {
    recorder.record({ event: 'undecided', token, problem: String(answer ?? 'no answer') });
  } else if (answer.acquired) {
    recorder.record({ event: 'acquired', token, fence: answer.fence });
  } else {
    const { record } = answer;
    const standing = 'standing' in answer ? answer.standing?.is : undefined;
    const holder = record && {
      owner: record.owner,
      attempt: record.attempt,
      fence: record.fence,
      state: record.state,
    };
    recorder.record({ event: 'refused', token, ...(holder && { holder }), ...(standing && { standing }) });
  }
}

/** Calls back with the answer to each step: `undefined` where the call has failed. */
function withAnswers<Step, Answer>(
  results: Promise<readonly Answer[]>,
  steps: readonly Step[],
  onAnswer: (step: Step, answer: Answer | undefined) => void,
): Promise<readonly Answer[]> {
  const note = (answers: readonly Answer[]) => {
    for (const [i, step] of steps.entries()) onAnswer(step, answers[i]);
  };
  results.then(note, () => note([]));
  return results;
}

function decided(answer: boolean | Error | undefined): { ok?: boolean } {
  return typeof answer === 'boolean' ? { ok: answer } : {};
}
