/** Records what a cache is asked, and what it answers. */

import type { Batch, BatchResults } from '../../src/cache/contract.ts';
import type { Recorder } from './history.ts';

interface Exchanging {
  exchange(batch: Batch): Promise<BatchResults>;
}

/** @param cache - the prototype of a class of caches, so that the caches that the guard makes for itself are recorded too. */
export function recordCalls(cache: Exchanging, recorder: Recorder): void {
  const { exchange } = cache;
  cache.exchange = function (batch: Batch): Promise<BatchResults> {
    recordSteps(batch, recorder);
    const results = exchange.call(this, batch);
    results.then(
      all => recordResults(batch, all, recorder),
      error => recordResults(batch, error, recorder),
    );
    return results;
  };
}

function recordSteps({ acquisitions, renewals, releases }: Batch, recorder: Recorder): void {
  for (const { token, dedupeFor } of releases) recorder.record({ event: 'release', token, dedupeFor });
  for (const { token, ttl } of renewals) recorder.record({ event: 'renew', token, ttl });
  for (const { storedKey, token, owner, attempt, ttl } of acquisitions) {
    recorder.record({ event: 'acquire', storedKey, token, owner, attempt, ttl });
  }
}

function recordResults(
  { acquisitions, renewals, releases }: Batch,
  results: BatchResults | Error,
  recorder: Recorder,
): void {
  const { acquired, renewed, released } = results instanceof Error ? NONE : results;
  for (const [i, { token }] of releases.entries()) {
    recorder.record({ event: 'released', token, ...decided(released[i]) });
  }
  for (const [i, { token }] of renewals.entries()) {
    recorder.record({ event: 'renewed', token, ...decided(renewed[i]) });
  }
  for (const [i, { token }] of acquisitions.entries()) {
    const result = acquired[i];
    if (!result || result instanceof Error) {
      recorder.record({ event: 'undecided', token, problem: String(result ?? results) });
    } else if (result.acquired) {
      recorder.record({ event: 'acquired', token, fence: result.fence });
    } else {
      const { owner, attempt, fence, state } = result.record;
      recorder.record({ event: 'refused', token, holder: { owner, attempt, fence, state } });
    }
  }
}

const NONE: BatchResults = { acquired: [], renewed: [], released: [] };

function decided(answer: boolean | Error | undefined): { ok?: boolean } {
  return typeof answer === 'boolean' ? { ok: answer } : {};
}
