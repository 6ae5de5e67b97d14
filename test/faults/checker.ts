/**
 * Reads a history and tells where a promise was broken. It knows nothing of how locks work, only what may be seen of
 * them. What can't be known (an answer that was lost, what a process did that was killed) is taken for the best.
 */

import { type Account, account, groupBy, type Lease, type Processed, type Run } from './account.ts';
import type { Entry } from './history.ts';

/** What was seen, and when. */
type Sight = readonly [what: string, at: number];

export type Promised =
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
  | 'left'
  | 'unhandled';

interface Rule {
  readonly says: string;
  readonly broken: (account: Account) => Iterable<Sight>;
}

/** The promises of docs/guarantees.md, and what every worker owes its queue, with what is seen where they are broken. */
const RULES: Record<Promised, Rule> = {
  exclusion: { says: 'two runs of a key do not overlap', broken: overlaps },
  holder: { says: 'only the holder renews and lets go', broken: strangers },
  ttl: { says: 'a crash blocks for at most ttl', broken: deadHolders },
  itself: { says: 'a job is never a duplicate of itself', broken: ownDuplicates },
  time: { says: 'a holder knows in time', broken: lateHolders },
  free: { says: 'finished means free', broken: account => [...ghosts(account), ...kept(account)] },
  fence: { says: 'fences rise', broken: fallingFences },
  undecided: { says: 'a cache that fails is not a duplicate', broken: guesses },
  lost: { says: 'no job is lost', broken: lostJobs },
  twice: { says: 'what is done does not run again', broken: repeats },
  left: { says: 'no lock is left behind', broken: leftovers },
  unhandled: { says: 'no process is harmed', broken: accidents },
};

export interface Violation {
  readonly promise: Promised;
  /** The promise in words, and what was seen. */
  readonly what: string;
  readonly at: number;
}

/** How much later than its time something may be noticed, in ms, where that takes a loaded machine a while. */
const SLACK = 1000;

/** All violations of a history, in the order of time. */
export function check(entries: readonly Entry[]): Violation[] {
  const whole = account(entries);
  const violations = Object.entries(RULES).flatMap(([promise, { says, broken }]) =>
    [...broken(whole)].map(([what, at]) => ({ promise: promise as Promised, what: `${says}: ${what}`, at })),
  );
  return violations.sort((a, b) => a.at - b.at);
}

function* overlaps(account: Account): Iterable<Sight> {
  const known = account.runs.filter(run => run.lease !== undefined);
  for (const [key, runs] of groupBy(known, ({ lease }) => lease?.key ?? '')) {
    for (const [i, second] of runs.entries()) {
      for (const first of runs.slice(0, i)) {
        if (believedUntil(first) <= mayBelieveUntil(account, first, second)) continue;
        const what = `${second.owner} began to run under '${key}', and ${first.owner} saw later that its lock was held`;
        yield [what, second.startedAt];
      }
    }
  }
}

/** When a run last saw that its lock was held and its signal had not aborted. */
function believedUntil({ startedAt, steps }: Run): number {
  return steps.findLast(({ held, aborted }) => held && !aborted)?.at ?? startedAt;
}

/** Until when a run may believe that it holds the lock though a second one has begun. */
function mayBelieveUntil(account: Account, { owner, lease }: Run, { startedAt }: Run): number {
  if (!lease) return startedAt;
  // The same job was started again: its first run is told by its next renewal, or knows that it can't be told.
  const again = account.leasesOf
    .get(lease.key)
    ?.find(one => one.owner === owner && one.fence > lease.fence && one.answeredAt <= startedAt);
  const until = again ? Math.max(startedAt, again.answeredAt + lease.ttl) : startedAt;
  // So it is where the datastore lost the first one's lease.
  return Math.max(until, forgottenAt(account, lease.askedAt, startedAt) + lease.ttl);
}

/** When the datastore may have lost for the last time what it had stored at `since`, if that began before `until`; else never. */
function forgottenAt({ forgets }: Account, since: number, until: number): number {
  return (
    forgets.findLast(span => span.until >= since && span.from <= until)?.until ?? Number.NEGATIVE_INFINITY
  );
}

function wasForgotten(account: Account, since: number, until: number): boolean {
  return forgottenAt(account, since, until) > 0;
}

function* strangers(account: Account): Iterable<Sight> {
  for (const lease of account.leases) {
    // Where its answer was lost, nobody knows when it was taken.
    const others = lease.fence > 0 ? (account.leasesOf.get(lease.key) ?? []) : [];
    const renewals = lease.renewals.map(ask => ({ ...ask, verb: 'renewed' }));
    const releases = lease.releases.map(ask => ({ ...ask, verb: 'let go of' }));
    for (const { verb, askedAt, answeredAt, ok } of [...renewals, ...releases]) {
      if (!ok || wasForgotten(account, lease.askedAt, answeredAt)) continue;
      const after = others.find(other => other.fence > lease.fence && other.answeredAt < askedAt);
      const letGo = lease.releases.some(release => release.ok && release.answeredAt < askedAt);
      if (after) yield [`${lease.owner} ${verb} '${lease.key}', which ${after.owner} had taken`, askedAt];
      else if (letGo) yield [`${lease.owner} ${verb} '${lease.key}', which it had let go of`, askedAt];
    }
  }
}

function* deadHolders(account: Account): Iterable<Sight> {
  for (const { owner, key, lease, claim } of refusals(account)) {
    const killedAt = account.killedAt.get(lease.pid);
    if (killedAt === undefined || claim.askedAt <= endOf(account, killedAt, lease.ttl)) continue;
    const late = Math.round(claim.askedAt - killedAt);
    yield [
      `${owner} finds '${key}' held by ${lease.owner}, whose process was killed ${late} ms ago`,
      claim.askedAt,
    ];
  }
}

/** When a lease has ended whose process was killed at `at`, whatever the datastore went through. */
function endOf({ silences }: Account, at: number, ttl: number): number {
  let end = at + ttl;
  // What the process had sent may have been executed when the datastore was back.
  for (const { from, until } of silences) if (from < end && until > at) end = until + ttl;
  return end + SLACK;
}

interface Refusal {
  readonly owner: string;
  readonly key: string;
  readonly claim: Lease;
  /** The running lease that was found in its place. */
  readonly lease: Lease;
}

function* refusals({ leases, leasesOf }: Account): Iterable<Refusal> {
  for (const claim of leases) {
    const { owner, key, holder } = claim;
    if (holder?.state !== 'running') continue;
    const lease = leasesOf.get(key)?.find(one => one.fence === holder.fence && one.owner === holder.owner);
    if (lease) yield { owner, key, claim, lease };
  }
}

function* ownDuplicates({ leases }: Account): Iterable<Sight> {
  for (const { owner, attempt, key, holder, askedAt } of leases) {
    // A run that comes late does not take the lease of a newer one.
    if (holder?.state !== 'running' || holder.owner !== owner || holder.attempt > attempt) continue;
    yield [`${owner} finds '${key}' held by itself, and does not take it over`, askedAt];
  }
}

function* lateHolders({ runs }: Account): Iterable<Sight> {
  for (const { owner, lease, steps, startedAt } of runs) {
    if (!lease) {
      yield [`${owner} runs under a lock that was not granted`, startedAt];
      continue;
    }
    const { askedAt, answeredAt, ttl, renewals, key } = lease;
    const grants = [{ askedAt, answeredAt, ms: ttl }, ...renewals.filter(({ ok }) => ok)];
    const isSafe = (at: number) => grants.some(one => one.answeredAt <= at && at < one.askedAt + one.ms);
    const late = steps.find(({ at, held }) => held && !isSafe(at));
    if (late) yield [`${owner} believes that it holds '${key}' when its lease can have ended`, late.at];
    // A loop that was blocked may run other timers first, once.
    const untold = steps.find((step, i) => isUntold(step) && isUntold(steps[i + 1]));
    if (untold) yield [`${owner} has lost '${key}', and its signal does not abort`, untold.at];
  }
}

function isUntold(step: Run['steps'][number] | undefined): boolean {
  return step !== undefined && !step.held && !step.aborted;
}

function* ghosts(account: Account): Iterable<Sight> {
  for (const { owner, key, lease, claim } of refusals(account)) {
    const letGo = lease.releases.some(({ ok, answeredAt }) => ok && answeredAt < claim.askedAt);
    if (!letGo || wasForgotten(account, lease.askedAt, claim.answeredAt)) continue;
    yield [`${owner} finds '${key}' held by ${lease.owner}, which had let go of it`, claim.askedAt];
  }
}

/** Whoever ends its work lets go, unless its process is killed before it can. */
function* kept({ runs, killedAt }: Account): Iterable<Sight> {
  for (const { owner, lease, endedAt } of runs) {
    if (!lease || endedAt === Number.POSITIVE_INFINITY || killedAt.has(lease.pid)) continue;
    if (lease.releases.length === 0)
      yield [`${owner} has ended, and does not let go of '${lease.key}'`, endedAt];
  }
}

function* fallingFences({ leasesOf }: Account): Iterable<Sight> {
  for (const [key, leases] of leasesOf) {
    const taken = leases.filter(({ fence }) => fence > 0);
    for (const [i, second] of taken.entries()) {
      const first = taken.find(
        (one, j) =>
          (one.fence === second.fence && j < i) ||
          (one.fence > second.fence && one.answeredAt < second.askedAt),
      );
      if (!first) continue;
      const fences = `with fence ${second.fence} after ${first.owner} had it with ${first.fence}`;
      yield [`${second.owner} took '${key}' ${fences}`, second.answeredAt];
    }
  }
}

function* guesses(account: Account): Iterable<Sight> {
  for (const job of account.processed) {
    const { at, owner, outcome, code, claim } = job;
    const isDecided = claim !== undefined && (claim.fence > 0 || claim.holder !== undefined);
    const isRight = outcome === 'skipped' ? refusalOf(account, job) : isDecided || code === 'ERR_LOCK_CACHE';
    if (!isRight) yield [`${owner} was ${outcome} without a verdict`, at];
  }
}

/** Why a job was skipped: its own claim, or one that its process made for another that waits for the same key, since it came. */
function refusalOf({ leasesOf }: Account, { at, pid, key, cameAt, claim }: Processed): Lease | undefined {
  if (claim) return claim.holder && claim;
  return leasesOf
    .get(key)
    ?.find(one => one.pid === pid && one.holder && one.askedAt >= cameAt && one.answeredAt <= at);
}

/**
 * Of a job that BullMQ calls completed and that did not run to its end, another's run covered the key: one that ended later
 * than it came, or that of the lease which it found; or one failed for all to see.
 */
function* lostJobs(account: Account): Iterable<Sight> {
  const { runs, processed, finals, endedAt } = account;
  const finished = groupBy(runs.filter(isFinished), ({ lease }) => lease?.key ?? '');
  const isDone = new Set(runs.filter(isFinished).map(({ owner }) => owner));
  const skips = new Map(
    processed.filter(({ outcome }) => outcome === 'skipped').map(job => [job.owner, job]),
  );
  const failed = new Set(
    processed.filter(({ owner }) => finals.get(owner) === 'failed').map(({ key }) => key),
  );
  for (const [owner, state] of finals) {
    if (state === 'failed' || isDone.has(owner)) continue;
    const skip = skips.get(owner);
    if (state !== 'completed') yield [`${owner} is ${state} when all is over`, endedAt];
    else if (!skip) yield [`${owner} is completed and never ran to its end`, endedAt];
    else {
      const { key, cameAt } = skip;
      const found = refusalOf(account, skip)?.holder?.fence;
      const isCovered = finished.get(key)?.some(run => run.endedAt >= cameAt || run.lease?.fence === found);
      if (isCovered || failed.has(key) || wasForgotten(account, cameAt, endedAt)) continue;
      yield [`${owner} was skipped, and no run of '${key}' came to its end after it came`, cameAt];
    }
  }
}

function isFinished({ outcome }: Run): boolean {
  return outcome === 'finished';
}

function* repeats(account: Account): Iterable<Sight> {
  for (const { owner, startedAt, lease } of account.runs) {
    const completedAt = account.completedAt.get(owner) ?? Number.POSITIVE_INFINITY;
    // A claim that was under way when another run of its job completed can't have known.
    if (completedAt >= (lease?.askedAt ?? startedAt) || wasForgotten(account, completedAt, startedAt))
      continue;
    yield [`${owner} runs again after it has completed`, startedAt];
  }
  for (const lease of account.leases) {
    const { key, owner, askedAt } = lease;
    const kept = lease.releases.find(({ ok, ms }) => ok && ms > 0);
    if (!kept) continue;
    // It is kept from when the release was executed: after it was sent, and before it was answered.
    const second = account.leasesOf
      .get(key)
      ?.find(
        one => one.fence > 0 && one.askedAt > kept.answeredAt && one.answeredAt < kept.askedAt + kept.ms,
      );
    if (!second || wasForgotten(account, askedAt, second.answeredAt)) continue;
    yield [`${second.owner} took '${key}', which is kept as done by ${owner}`, second.askedAt];
  }
}

function* leftovers({ left, endedAt }: Account): Iterable<Sight> {
  for (const key of left) yield [`'${key}' is held when all is over`, endedAt];
}

function* accidents({ unhandled }: Account): Iterable<Sight> {
  for (const { problem, at } of unhandled) yield [problem, at];
}
