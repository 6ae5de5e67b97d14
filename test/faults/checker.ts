/**
 * Reads a history and finds where a guarantee was broken. It does not know how locks work, only what can be seen of them.
 * Where something can't be known (an answer that was lost, what a process did that was killed), it assumes the best.
 */

import {
  type Account,
  type Acquisition,
  accountOf,
  groupBy,
  type ProcessedJob,
  type Run,
} from './account.ts';
import { type Finding, wasDataLost } from './finding.ts';
import type { Entry } from './history.ts';
import { findJumpers, findNewestNotRun, findNotRunInOrder } from './line-rules.ts';
import { findOverlaps, findTakenReservations, findTooManyLeases } from './place-rules.ts';
import { findMissingShares, findWrongResults, findWrongShares } from './result-rules.ts';

export type Guarantee =
  | 'exclusion'
  | 'holder'
  | 'ttl'
  | 'itself'
  | 'time'
  | 'free'
  | 'fence'
  | 'undecided'
  | 'lost'
  | 'twice'
  | 'reserved'
  | 'order'
  | 'newest'
  | 'result'
  | 'left'
  | 'unhandled';

interface Rule {
  /** The guarantee in words. */
  readonly guarantee: string;
  /** Finds where it was broken. */
  readonly find: (account: Account) => Iterable<Finding>;
}

/** The guarantees of docs/guarantees.md, and what every worker owes to its queue. */
const RULES: Record<Guarantee, Rule> = {
  exclusion: {
    guarantee: 'never more hold a key than it has places',
    find: account => [...findOverlaps(account), ...findTooManyLeases(account)],
  },
  holder: { guarantee: 'only the holder renews and releases', find: findRequestsOfOthers },
  ttl: { guarantee: 'a crash blocks for at most ttl', find: findHeldByKilledProcess },
  itself: { guarantee: 'a crashed job is never a duplicate of itself', find: findOwnDuplicates },
  time: { guarantee: 'a holder knows in time', find: findLateHolders },
  free: {
    guarantee: 'finished means free',
    find: account => [...findHeldAfterRelease(account), ...findUnreleased(account)],
  },
  fence: { guarantee: 'fences rise', find: findFallingFences },
  undecided: { guarantee: 'a cache failure is not a duplicate', find: findUndecidedOutcomes },
  lost: { guarantee: 'no job is lost', find: findLostJobs },
  twice: { guarantee: 'done work does not run again', find: findRepeats },
  reserved: { guarantee: "a reservation is nobody else's", find: findTakenReservations },
  order: {
    guarantee: 'in order all run, and nobody jumps the line',
    find: account => [...findNotRunInOrder(account), ...findJumpers(account)],
  },
  newest: { guarantee: 'of those that are outdone the newest has run', find: findNewestNotRun },
  result: {
    guarantee: 'a result is that of its work',
    find: account => [
      ...findWrongShares(account),
      ...findMissingShares(account),
      ...findWrongResults(account),
    ],
  },
  left: { guarantee: 'no lock is left behind', find: findLeftBehind },
  unhandled: { guarantee: 'no process is harmed', find: findUnhandled },
};

export interface Violation {
  readonly guarantee: Guarantee;
  /** The guarantee in words, and what was seen. */
  readonly what: string;
  readonly at: number;
}

/** By so much a fence is higher from before the datastore's clock was set back, or by a chain of reclaims from then; in µs. */
const FAR_AHEAD = 1_800_000_000;

/** How much later than due a loaded machine may notice something, in ms. */
const SLACK_MS = 1000;

/** All violations of a history, in the order of time. */
export function check(entries: readonly Entry[]): Violation[] {
  const account = accountOf(entries);
  const violations = Object.entries(RULES).flatMap(([name, rule]) =>
    [...rule.find(account)].map(([what, at]) => ({
      guarantee: name as Guarantee,
      what: `${rule.guarantee}: ${what}`,
      at,
    })),
  );
  return violations.sort((a, b) => a.at - b.at);
}

function* findRequestsOfOthers(account: Account): Iterable<Finding> {
  for (const lease of account.acquisitions) {
    // Where its answer was lost, nobody knows when it was acquired.
    const all = lease.fence > 0 ? (account.acquisitionsOf.get(lease.storedKey) ?? []) : [];
    const others = all.filter(({ owner, places }) => places === 1 || owner === lease.owner);
    const renewals = lease.renewals.map(request => ({ ...request, verb: 'renewed' }));
    const releases = lease.releases.map(request => ({ ...request, verb: 'released' }));
    for (const { verb, sentAt, answeredAt, ok } of [...renewals, ...releases]) {
      if (!ok || wasDataLost(account, lease.sentAt, answeredAt)) continue;
      const next = others.find(
        other => other.fence > lease.fence && other.answeredAt > lease.sentAt && other.answeredAt < sentAt,
      );
      const wasReleased = lease.releases.some(release => release.ok && release.answeredAt < sentAt);
      if (next) {
        yield [`${lease.owner} ${verb} '${lease.storedKey}', which ${next.owner} had acquired`, sentAt];
      } else if (wasReleased) {
        yield [`${lease.owner} ${verb} '${lease.storedKey}', which it had released before`, sentAt];
      }
    }
  }
}

function* findHeldByKilledProcess(account: Account): Iterable<Finding> {
  for (const { lease, refused } of refusals(account)) {
    const killedAt = account.killedAt.get(lease.pid);
    if (killedAt === undefined || refused.sentAt <= latestEndOf(account, killedAt, lease.ttl)) continue;
    const late = Math.round(refused.sentAt - killedAt);
    yield [
      `${refused.owner} finds '${refused.storedKey}' held by ${lease.owner}, whose process was killed ${late} ms ago`,
      refused.sentAt,
    ];
  }
}

/** When the lease of a process that was killed at `at` has ended, whatever happened to the datastore. */
function latestEndOf({ outages }: Account, at: number, ttl: number): number {
  let end = at + ttl;
  // What the process had sent may have been executed when the datastore was back.
  for (const { from, until } of outages) if (from < end && until > at) end = until + ttl;
  return end + SLACK_MS;
}

interface Refusal {
  readonly refused: Acquisition;
  /** The running lease that holds the key. */
  readonly lease: Acquisition;
}

function* refusals({ acquisitions, acquisitionsOf }: Account): Iterable<Refusal> {
  for (const refused of acquisitions) {
    const { storedKey, holder } = refused;
    if (holder?.state !== 'running') continue;
    const lease = acquisitionsOf
      .get(storedKey)
      ?.find(one => one.fence === holder.fence && one.owner === holder.owner);
    if (lease) yield { refused, lease };
  }
}

function* findOwnDuplicates({ acquisitions }: Account): Iterable<Finding> {
  for (const { owner, attempt, storedKey, holder, sentAt } of acquisitions) {
    // A run that comes late does not reclaim the lease of a newer one.
    if (holder?.state !== 'running' || holder.owner !== owner || holder.attempt > attempt) continue;
    yield [`${owner} finds '${storedKey}' held by itself, and does not reclaim it`, sentAt];
  }
}

function* findLateHolders({ runs }: Account): Iterable<Finding> {
  for (const { owner, lease, steps, startedAt } of runs) {
    if (!lease) {
      yield [`${owner} runs under a lock that was not granted`, startedAt];
      continue;
    }
    const { sentAt, answeredAt, ttl, renewals, storedKey } = lease;
    const grants = [{ sentAt, answeredAt, ms: ttl }, ...renewals.filter(({ ok }) => ok)];
    const isSafe = (at: number) => grants.some(one => one.answeredAt <= at && at < one.sentAt + one.ms);
    const late = steps.find(({ at, held }) => held && !isSafe(at));
    if (late) yield [`${owner} sees '${storedKey}' held when its lease can have ended`, late.at];
    // An event loop that was blocked may run other timers first, once.
    const silent = steps.find((step, i) => isLostInSilence(step) && isLostInSilence(steps[i + 1]));
    if (silent) yield [`${owner} has lost '${storedKey}', and its signal does not abort`, silent.at];
  }
}

function isLostInSilence(step: Run['steps'][number] | undefined): boolean {
  return step !== undefined && !step.held && !step.aborted;
}

function* findHeldAfterRelease(account: Account): Iterable<Finding> {
  for (const { refused, lease } of refusals(account)) {
    const wasReleased = lease.releases.some(({ ok, answeredAt }) => ok && answeredAt < refused.sentAt);
    if (!wasReleased || wasDataLost(account, lease.sentAt, refused.answeredAt)) continue;
    yield [
      `${refused.owner} finds '${refused.storedKey}' held by ${lease.owner}, which had released it`,
      refused.sentAt,
    ];
  }
}

/** A run that ends releases its key, unless its process is killed before it can. */
function* findUnreleased({ runs, killedAt }: Account): Iterable<Finding> {
  for (const { owner, lease, endedAt } of runs) {
    if (!lease || endedAt === Number.POSITIVE_INFINITY || killedAt.has(lease.pid)) continue;
    if (lease.releases.length === 0) {
      yield [`${owner} has ended, and does not release '${lease.storedKey}'`, endedAt];
    }
  }
}

function* findFallingFences({ acquisitionsOf, clockSetBackAt }: Account): Iterable<Finding> {
  for (const [storedKey, acquisitions] of acquisitionsOf) {
    const granted = acquisitions.filter(({ fence }) => fence > 0);
    for (const [i, second] of granted.entries()) {
      const first = granted.find(
        (one, j) =>
          (one.fence === second.fence && j < i) ||
          (one.fence > second.fence &&
            one.answeredAt < second.sentAt &&
            !(one.fence - second.fence > FAR_AHEAD && clockSetBackAt.some(at => at <= second.answeredAt))),
      );
      if (!first) continue;
      const fences = `with fence ${second.fence} after ${first.owner} had it with ${first.fence}`;
      yield [`${second.owner} acquired '${storedKey}' ${fences}`, second.answeredAt];
    }
  }
}

function* findUndecidedOutcomes(account: Account): Iterable<Finding> {
  for (const job of account.processed) {
    const { at, owner, outcome, code, acquisition } = job;
    const isDecided = acquisition !== undefined && (acquisition.fence > 0 || isRefused(acquisition));
    const isRight = outcome === 'skipped' ? refusalOf(account, job) : isDecided || code === 'ERR_LOCK_CACHE';
    if (!isRight) yield [`${owner} was ${outcome}, and the cache had not decided`, at];
  }
}

/**
 * Why a job was skipped: its own refused acquisition, or one that its process has sent since the job came, for another job that
 * waits for the same key.
 */
function refusalOf(
  { acquisitionsOf }: Account,
  { at, pid, storedKey, receivedAt, acquisition }: ProcessedJob,
): Acquisition | undefined {
  if (acquisition) return isRefused(acquisition) ? acquisition : undefined;
  return acquisitionsOf
    .get(storedKey)
    ?.find(one => one.pid === pid && isRefused(one) && one.sentAt >= receivedAt && one.answeredAt <= at);
}

function isRefused({ holder, standing }: Acquisition): boolean {
  return holder !== undefined || standing !== undefined;
}

/**
 * A job that BullMQ calls completed has run to its end, or another run covered its key: one that ended after the job came, or
 * the one that held the key then; or one that failed for all to see, or was removed.
 */
function* findLostJobs(account: Account): Iterable<Finding> {
  const { runs, processed, finalStates, removed, endedAt } = account;
  const finished = groupBy(runs.filter(isFinished), ({ lease }) => lease?.storedKey ?? '');
  const hasFinished = new Set(runs.filter(isFinished).map(({ owner }) => owner));
  const skips = new Map(
    processed.filter(({ outcome }) => outcome === 'skipped').map(job => [job.owner, job]),
  );
  const shares = new Set(processed.filter(({ outcome }) => outcome === 'shared').map(({ owner }) => owner));
  const failed = new Set(
    processed
      .filter(({ owner }) => finalStates.get(owner)?.state === 'failed' || removed.has(owner))
      .map(({ storedKey }) => storedKey),
  );
  for (const [owner, { state }] of finalStates) {
    if (state === 'failed' || hasFinished.has(owner)) continue;
    if (state === 'completed' && shares.has(owner)) continue;
    const skip = skips.get(owner);
    if (state !== 'completed') yield [`${owner} is ${state} when all is over`, endedAt];
    else if (!skip) yield [`${owner} is completed and never ran to its end`, endedAt];
    else {
      const { storedKey, receivedAt, acquisition } = skip;
      // A newer one covers it, which may have run before it came: another rule looks for that.
      if (acquisition?.line === 'newest') continue;
      const holding = refusalOf(account, skip)?.holder?.fence;
      const isCovered = finished
        .get(storedKey)
        ?.some(run => run.endedAt >= receivedAt || run.lease?.fence === holding);
      if (isCovered || failed.has(storedKey) || wasDataLost(account, receivedAt, endedAt)) continue;
      yield [`${owner} was skipped, and no run of '${storedKey}' ended after the job came`, receivedAt];
    }
  }
}

function isFinished({ outcome }: Run): boolean {
  return outcome === 'finished';
}

function* findRepeats(account: Account): Iterable<Finding> {
  for (const { owner, startedAt, lease } of account.runs) {
    const completedAt = account.completedAt.get(owner) ?? Number.POSITIVE_INFINITY;
    // An acquisition that was under way when another run of its job completed can't have known.
    if (completedAt >= (lease?.sentAt ?? startedAt)) continue;
    // With the datastore's data BullMQ's own lock of the job was lost, while it waited for its key.
    const receivedAt = account.processed.find(one => one.acquisition === lease)?.receivedAt ?? completedAt;
    if (wasDataLost(account, Math.min(receivedAt, completedAt), startedAt)) continue;
    yield [`${owner} runs again after it has completed`, startedAt];
  }
  for (const lease of account.acquisitions) {
    const { storedKey, owner, sentAt } = lease;
    const done = lease.releases.find(({ ok, ms }) => ok && ms > 0);
    if (!done) continue;
    // The key is held as done from when the release was executed: after it was sent, and before it was answered.
    const second = account.acquisitionsOf
      .get(storedKey)
      ?.find(one => one.fence > 0 && one.sentAt > done.answeredAt && one.answeredAt < done.sentAt + done.ms);
    if (!second || wasDataLost(account, sentAt, second.answeredAt)) continue;
    yield [`${second.owner} acquired '${storedKey}', which is held as done by ${owner}`, second.sentAt];
  }
}

function* findLeftBehind({ leftBehind, clockSetBackAt, endedAt }: Account): Iterable<Finding> {
  if (clockSetBackAt.length > 0) return;
  for (const storedKey of leftBehind) yield [`'${storedKey}' is held when all is over`, endedAt];
}

function* findUnhandled({ unhandled }: Account): Iterable<Finding> {
  for (const { problem, at } of unhandled) yield [problem, at];
}
