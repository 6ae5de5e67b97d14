/** How many may hold a key at once: by what the datastore has confirmed, and by what runs see of their locks. */

import { type Account, type Acquisition, groupBy, type Run } from './account.ts';
import { dataLostAt, type Finding, wasDataLost } from './finding.ts';

/** When a key was held for sure, whatever got lost on the way. */
interface Hold {
  readonly lease: Acquisition;
  readonly from: number;
  readonly until: number;
  /** It does not run, and has the key reserved for its next run. */
  readonly isReserved: boolean;
}

/** More runs than there are places see their locks held. */
export function* findOverlaps(account: Account): Iterable<Finding> {
  const underLock = account.runs.filter(run => run.lease !== undefined);
  for (const [storedKey, runs] of groupBy(underLock, ({ lease }) => lease?.storedKey ?? '')) {
    const places = placesOf(account, storedKey);
    for (const [i, second] of runs.entries()) {
      // Its process stood still before it started, and it knows on its first line that its lock is lost.
      if (second.steps[0]?.held === false) continue;
      const beside = runs
        .slice(0, i)
        .filter(first => lastSeenHeld(first) > mayBeSeenHeldUntil(account, first, second));
      if (beside.length < places) continue;
      const names = beside.map(({ owner }) => owner).join(', ');
      yield [
        `${second.owner} started to run under '${storedKey}', and ${names} later saw its own lock held`,
        second.startedAt,
      ];
    }
  }
}

/** While two deployments differ, the higher number is what can run at most. */
function placesOf({ acquisitionsOf }: Account, storedKey: string): number {
  return Math.max(...(acquisitionsOf.get(storedKey) ?? []).map(({ places }) => places));
}

/** When a run last saw that its lock was held. */
function lastSeenHeld({ startedAt, steps }: Run): number {
  return steps.findLast(({ held }) => held)?.at ?? startedAt;
}

/** Until when a run may see its lock held although a second run has started. */
function mayBeSeenHeldUntil(account: Account, { owner, lease }: Run, { startedAt }: Run): number {
  if (!lease) return startedAt;
  // The same job was started again: its first run learns of it at its next renewal, or when its lease expires.
  const reclaimed = account.acquisitionsOf
    .get(lease.storedKey)
    ?.find(one => one.owner === owner && one.fence > lease.fence && one.answeredAt <= startedAt);
  const until = reclaimed ? Math.max(startedAt, reclaimed.answeredAt + lease.ttl) : startedAt;
  // So does a run whose lease the datastore lost.
  return Math.max(until, dataLostAt(account, lease.sentAt, startedAt) + lease.ttl);
}

/** A lease is granted while as many others hold the key for sure as it has places. */
export function* findTooManyLeases(account: Account): Iterable<Finding> {
  for (const { second, others } of excesses(account)) {
    if (!others.some(({ isReserved }) => isReserved)) yield tellExcess(second, others, 'held it');
  }
}

/** A key is granted while it is reserved for the next run of another job. */
export function* findTakenReservations(account: Account): Iterable<Finding> {
  for (const { second, others } of excesses(account)) {
    if (others.some(({ isReserved }) => isReserved)) yield tellExcess(second, others, 'had it reserved');
  }
}

function tellExcess(
  { owner, storedKey, answeredAt }: Acquisition,
  others: readonly Hold[],
  had: string,
): Finding {
  const names = others.map(({ lease }) => lease.owner).join(', ');
  return [`${owner} acquired '${storedKey}' while ${names} ${had}`, answeredAt];
}

/** The acquisitions that were granted although all places were taken for sure, and who had them. */
function* excesses(account: Account): Iterable<{ second: Acquisition; others: readonly Hold[] }> {
  for (const acquisitions of account.acquisitionsOf.values()) {
    const granted = acquisitions.filter(({ fence }) => fence > 0);
    const holds = granted.flatMap(lease => holdsOf(account, lease));
    for (const second of granted) {
      const others = holds.filter(
        ({ lease, from, until }) =>
          lease.owner !== second.owner &&
          from <= second.sentAt &&
          until >= second.answeredAt &&
          !wasDataLost(account, lease.sentAt, second.answeredAt),
      );
      if (others.length >= second.places) yield { second, others };
    }
  }
}

/**
 * When a job had the key for sure: from the answer to its acquisition until its lease can have ended; and from the answer to a release
 * that reserves the key until it can have come again.
 */
function holdsOf(account: Account, lease: Acquisition): Hold[] {
  const { owner, storedKey, sentAt, answeredAt, ttl, renewals, releases } = lease;
  // Who finds that the job of a lease or of a reservation is gone frees its key.
  if (account.removed.has(owner)) return [];
  const others = account.acquisitionsOf.get(storedKey) ?? [];
  const again = others.filter(one => one !== lease && one.owner === owner && one.answeredAt > sentAt);
  const comesAgainAt = Math.min(...again.map(one => one.sentAt));
  let expiresAt = sentAt + ttl;
  for (const renewal of renewals) {
    if (renewal.ok && renewal.sentAt <= expiresAt)
      expiresAt = Math.max(expiresAt, renewal.sentAt + renewal.ms);
  }
  const leased = {
    from: answeredAt,
    until: Math.min(expiresAt, ...releases.map(one => one.sentAt), comesAgainAt),
  };
  const release = releases.find(({ ok, reservedFor }) => ok && reservedFor !== undefined);
  const reserved = release && {
    from: release.answeredAt,
    until: Math.min(release.sentAt + (release.reservedFor ?? 0), comesAgainAt),
  };
  return [
    { lease, ...leased, isReserved: false },
    ...(reserved ? [{ lease, ...reserved, isReserved: true }] : []),
  ];
}
