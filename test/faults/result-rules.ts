/** Where results come from: a job has that of its own run, or shares that of another run of its key. */

import { type Account, groupBy, type ProcessedJob, type Run } from './account.ts';
import { type Finding, wasDataLost } from './finding.ts';

/** A shared result is one that a run of the key has returned before, and not long before the job came. */
export function* findWrongShares(account: Account): Iterable<Finding> {
  const ofKeys = groupBy(account.runs, ({ lease }) => lease?.storedKey ?? '');
  // A process that was killed has processed nothing, and its job stays in the line.
  const firstAskedAt = new Map<string, number>();
  for (const { owner, sentAt } of account.acquisitions) {
    firstAskedAt.set(owner, Math.min(firstAskedAt.get(owner) ?? sentAt, sentAt));
  }
  for (const job of account.processed) {
    const { owner, outcome, result, storedKey, at } = job;
    if (outcome !== 'shared') continue;
    const run = ofKeys.get(storedKey)?.find(one => one.result === result && one.endedAt <= at);
    if (!run) yield [`${owner} shares '${result}', which no run of '${storedKey}' has returned`, at];
    else if (run.owner !== owner && !isFresh(run, firstAskedAt.get(owner) ?? at, account)) {
      yield [`${owner} shares a result of '${storedKey}' from before it came`, at];
    }
  }
}

/** It ended after the job came, or its key was held when the job came: not released yet, or as done. */
function isFresh({ endedAt, lease }: Run, askedAt: number, { clockSetBackAt }: Account): boolean {
  if (endedAt >= askedAt || clockSetBackAt.some(at => at <= askedAt)) return true;
  return lease?.releases.some(({ ms, answeredAt }) => answeredAt + ms >= askedAt) ?? false;
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
