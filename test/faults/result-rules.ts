/** Where results come from: a job has that of its own run, or shares that of another run of its key. */

import { type Account, groupBy, type ProcessedJob, type Run } from './account.ts';
import { type Finding, wasDataLost } from './finding.ts';

/** A shared result is one that a run of the key has returned before, and not long before the job came. */
export function* findWrongShares(account: Account): Iterable<Finding> {
  const ofKeys = groupBy(account.runs, ({ lease }) => lease?.storedKey ?? '');
  const firstReceivedAt = new Map<string, number>();
  for (const { owner, receivedAt } of account.processed) {
    firstReceivedAt.set(owner, Math.min(firstReceivedAt.get(owner) ?? receivedAt, receivedAt));
  }
  for (const job of account.processed) {
    const { owner, outcome, result, storedKey, at } = job;
    if (outcome !== 'shared') continue;
    const run = ofKeys.get(storedKey)?.find(one => one.result === result && one.endedAt <= at);
    if (!run) yield [`${owner} shares '${result}', which no run of '${storedKey}' has returned`, at];
    else if (run.owner !== owner && !isFresh(run, firstReceivedAt.get(owner) ?? at, account)) {
      yield [`${owner} shares a result of '${storedKey}' from before it came`, at];
    }
  }
}

/** It ended after the job came, or its key was held as done when the job came. */
function isFresh({ endedAt, lease }: Run, receivedAt: number, { clockSetBackAt }: Account): boolean {
  if (endedAt >= receivedAt || clockSetBackAt.some(at => at <= receivedAt)) return true;
  return lease?.releases.some(({ ms, answeredAt }) => answeredAt + ms >= receivedAt && ms > 0) ?? false;
}

/** A job that BullMQ calls completed has the result that its run returned, or that it shared. */
export function* findWrongResults(account: Account): Iterable<Finding> {
  const { finalStates, endedAt } = account;
  const returned = groupBy(account.runs, ({ owner }) => owner);
  const shared = groupBy(
    account.processed.filter(({ outcome }) => outcome === 'shared'),
    ({ owner }: ProcessedJob) => owner,
  );
  for (const [owner, { state, result }] of finalStates) {
    if (state !== 'completed' || result === undefined) continue;
    const own = [...(returned.get(owner) ?? []), ...(shared.get(owner) ?? [])];
    if (own.some(one => one.result === result)) continue;
    yield [`${owner} is completed with '${result}', which it neither returned nor shared`, endedAt];
  }
}

/** Under `'share'` a duplicate completes with a result. */
export function* findMissingShares(account: Account): Iterable<Finding> {
  for (const { owner, outcome, acquisition, storedKey, receivedAt, at } of account.processed) {
    if (outcome !== 'skipped' || acquisition?.line !== 'together') continue;
    if (wasDataLost(account, receivedAt - acquisition.ttl, at)) continue;
    yield [`${owner} was skipped, and was to share a result of '${storedKey}'`, at];
  }
}
