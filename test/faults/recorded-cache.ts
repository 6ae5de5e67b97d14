/** Writes down what a cache is asked, and what it answers, whoever asks it. */

import type { Answers, Batch } from '../../src/cache/contract.ts';
import type { Recorder } from './history.ts';

interface Exchanging {
  exchange(batch: Batch): Promise<Answers>;
}

/** @param cache - the prototype of a class of caches: those that the guard makes for itself are recorded too. */
export function recordAll(cache: Exchanging, recorder: Recorder): void {
  const { exchange } = cache;
  cache.exchange = function (batch: Batch): Promise<Answers> {
    recordAsked(batch, recorder);
    const answers = exchange.call(this, batch);
    answers.then(
      all => recordAnswers(batch, all, recorder),
      error => recordAnswers(batch, error, recorder),
    );
    return answers;
  };
}

function recordAsked({ claims, renewals, releases }: Batch, recorder: Recorder): void {
  for (const { token, keepFor } of releases) recorder.write({ event: 'release', token, keepFor });
  for (const { token, ttl } of renewals) recorder.write({ event: 'renew', token, ttl });
  for (const { key, token, owner, attempt, ttl } of claims) {
    recorder.write({ event: 'claim', key, token, owner, attempt, ttl });
  }
}

function recordAnswers(
  { claims, renewals, releases }: Batch,
  answers: Answers | Error,
  recorder: Recorder,
): void {
  const { claimed, renewed, released } = answers instanceof Error ? NONE : answers;
  for (const [i, { token }] of releases.entries()) {
    recorder.write({ event: 'released', token, ...decided(released[i]) });
  }
  for (const [i, { token }] of renewals.entries()) {
    recorder.write({ event: 'renewed', token, ...decided(renewed[i]) });
  }
  for (const [i, { token }] of claims.entries()) {
    const verdict = claimed[i];
    if (!verdict || verdict instanceof Error) {
      recorder.write({ event: 'undecided', token, problem: String(verdict ?? answers) });
    } else if (verdict.taken) {
      recorder.write({ event: 'claimed', token, fence: verdict.fence });
    } else {
      const { owner, attempt, fence, state } = verdict.holder;
      recorder.write({ event: 'refused', token, holder: { owner, attempt, fence, state } });
    }
  }
}

const NONE: Answers = { claimed: [], renewed: [], released: [] };

function decided(answer: boolean | Error | undefined): { ok?: boolean } {
  return typeof answer === 'boolean' ? { ok: answer } : {};
}
