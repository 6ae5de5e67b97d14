/**
 * The rules of lines and places: how a step on a key that several may hold, or that jobs are parked for, changes them. Pure functions,
 * beside those of `lock-rules.ts`. The Lua of `redis/line-scripts.ts` and the SQL of `postgres/line-sql.ts` follow the same rules.
 */

import { jobOfOwner } from '../key/owner-id.ts';
import {
  type EnterResult,
  type EnterStep,
  type LeaveResult,
  type LeaveStep,
  type LineQuery,
  type LineRecord,
  type LockRecord,
  MAX_ANSWERED,
  type ReleaseStep,
} from './contract.ts';
import {
  decideAcquire,
  decideRelease,
  grant,
  isHeldBy,
  isMismatch,
  mayReclaim,
  recordOf,
  type StoredLock,
} from './lock-rules.ts';

/** What is stored of a key: who holds its places, and who is parked for it. Nothing here has expired. */
export interface StoredKey {
  /** In the order in which they acquired it. */
  readonly places: readonly StoredLock[];
  /** In their order. */
  readonly parked: readonly Parked[];
  /** Of the line `'newest'`: the last owner that acquired the key. */
  readonly lastRun?: LastRun | undefined;
  /** The result of the work that was done last, where it is kept. */
  readonly kept?: Kept | undefined;
}

/** A result, and those of the line `'together'` that share it: they were parked when the work was done. */
export interface Kept {
  readonly text: string;
  readonly expiresAt: number;
  /** Those that have not come for it yet, in the order of the line. */
  readonly awaited: readonly Sharer[];
  /** Those that have come. They may come again. */
  readonly served: readonly string[];
}

export interface Sharer {
  readonly owner: string;
  /** It has so long to come for the result. */
  readonly expiresAt: number;
}

export interface Parked {
  readonly owner: string;
  /** When it joined, in ms since the epoch. */
  readonly since: number;
}

export interface LastRun extends Parked {
  readonly expiresAt: number;
}

/** A moment: on the clock of expiries, and in ms since the epoch. */
export interface Moment {
  readonly now: number;
  readonly wall: number;
}

/** How long a line stays that nobody joins. Parked jobs come back by themselves, and join it again. */
export const LINE_LASTS_MS: number = 7 * 86_400_000;
/** The last owner that acquired a key is remembered for this many ttl after it acquired it. */
export const REMEMBER_TTLS = 4;
/** An owner that was outdone while it was parked may come back late: its queue may be paused. */
export const REMEMBER_OUTDONE_MS = 86_400_000;

/**
 * Decides an entry.
 * @param fence - one that is higher than every fence given out before.
 */
export function decideEnter(
  step: EnterStep,
  stored: StoredKey,
  at: Moment,
  fence: number,
): { result: EnterResult; stored: StoredKey } {
  const { owner, line, joins } = step;
  const { places } = stored;
  const own = places.find(place => isHeldBy(step, place)) ?? places.find(place => mayReclaim(step, place));
  if (own) {
    const decision = decideAcquire(step, own, at.now, fence);
    return granted(step, stored, own, decision.stored as StoredLock, at, isReclaimed(decision.result));
  }
  if (line === 'together' && stored.kept && isSharer(owner, stored.kept, at.now)) {
    // A newcomer may have done the work for other data meanwhile: that is not the result that it has waited for.
    if (isMismatch(step, { match: resultMatch(stored.kept.text) })) {
      return decideEnter(step, { ...stored, kept: withoutSharer(stored.kept, owner) }, at, fence);
    }
    return answered(step, stored, stored.kept, at.now);
  }
  const itself = places.find(place => place.owner === owner);
  // Its work is done, or a newer run of it is under way. It is not to wait for itself.
  if (itself) return refused(step, stored, itself, at);
  const isEnd = (place: StoredLock) =>
    isMismatch(step, place) || (line === 'together' && place.state === 'done');
  const end = places.find(isEnd);
  // It is no duplicate, or the work is done. There is nothing to wait for, unless the key is reserved for a job that won't come back.
  if (end) return refused(step, end.state === 'reserved' ? stored : withoutParked(stored, owner), end, at);
  const position = stored.parked.findIndex(parked => parked.owner === owner);
  if (line && !joins && position < 0) {
    return { result: { acquired: false, standing: { is: 'not-in-line' } }, stored };
  }
  if (line === 'newest' && position < 0) {
    const record = newerThan(step, stored, at);
    if (record) return { result: { acquired: false, record, standing: { is: 'outdone' } }, stored };
  }
  const ahead = position < 0 ? stored.parked.length : position;
  const free = step.places - places.length;
  if (line === 'all' ? ahead < free : free > 0) {
    return granted(step, stored, undefined, grant(step, at.wall, at.now, fence), at, false);
  }
  // Where a place is free, it is those before it in the line that are in its way.
  // Who finds a reservation asks BullMQ about its job, and then about the job of the next.
  const isNext = ({ state, fence }: StoredLock) => state === 'reserved' && fence > (step.reservedAfter ?? 0);
  const holder = free > 0 ? undefined : (places.find(isNext) ?? places[0]);
  const record = holder
    ? recordOf(step.storedKey, holder, at.now)
    : parkedRecord(step.storedKey, stored.parked[0] as Parked);
  return line ? joined(step, stored, position, record, at) : { result: { acquired: false, record }, stored };
}

function isReclaimed(result: EnterResult): boolean {
  return result.acquired && result.reclaimed;
}

function granted(
  step: EnterStep,
  { places, parked, lastRun, kept }: StoredKey,
  own: StoredLock | undefined,
  place: StoredLock,
  { now, wall }: Moment,
  reclaimed: boolean,
): { result: EnterResult; stored: StoredKey } {
  const { owner, line, ttl } = step;
  const others = parked.filter(one => one.owner !== owner);
  const [next] = others;
  // The newest that reclaims its own leaves a newer one in the line. Else whoever is parked is older, and outdone.
  const rest = line === 'newest' && !own ? [] : others;
  const rememberFor = next && rest.length === 0 ? REMEMBER_OUTDONE_MS : REMEMBER_TTLS * ttl;
  const expiresAt = Math.max(lastRun?.expiresAt ?? 0, now + rememberFor);
  return {
    result: { acquired: true, fence: place.fence, reclaimed, next: next?.owner },
    stored: {
      places: [...places.filter(one => one !== own), place].sort((a, b) => a.fence - b.fence),
      parked: rest,
      lastRun: line === 'newest' && !own ? { owner, since: wall, expiresAt } : lastRun,
      kept,
    },
  };
}

/** Refuses an owner that is not to be in the line. */
function refused(
  { storedKey, line }: EnterStep,
  stored: StoredKey,
  inTheWay: StoredLock,
  { now }: Moment,
): { result: EnterResult; stored: StoredKey } {
  const record = recordOf(storedKey, inTheWay, now);
  const isDone = line === 'together' && inTheWay.state === 'done';
  const standing = isDone && stored.kept && ({ is: 'answered', result: stored.kept.text } as const);
  return { result: { acquired: false, record, ...(standing && { standing }) }, stored };
}

/** The work was done while its owner was parked for it. */
function answered(
  { owner }: EnterStep,
  stored: StoredKey,
  kept: Kept,
  now: number,
): { result: EnterResult; stored: StoredKey } {
  // The answer may get lost, and its process may die with it: so it may come again.
  const { awaited, served } = withoutSharer(kept, owner);
  const others = firstAwaited(awaited, now);
  // Those before the last were told by the one that did the work, or by one that came.
  const next = others[MAX_ANSWERED - 1] ?? others[0];
  return {
    result: { acquired: false, standing: { is: 'answered', result: kept.text, next } },
    stored: { ...stored, kept: { ...kept, awaited, served: [...served, owner] } },
  };
}

function isSharer(owner: string, { awaited, served }: Kept, now: number): boolean {
  const sharer = awaited.find(one => one.owner === owner);
  return sharer ? sharer.expiresAt > now : served.includes(owner);
}

/** Mostly it is the first of those that are awaited. Ten thousand may be: so the others are copied as a whole. */
function withoutSharer(kept: Kept, owner: string): Kept {
  const { awaited, served } = kept;
  const at = awaited.findIndex(one => one.owner === owner);
  if (at < 0) return { ...kept, served: served.filter(one => one !== owner) };
  return { ...kept, awaited: awaited.slice(0, at).concat(awaited.slice(at + 1)) };
}

/** Those that are promoted at once. */
function firstAwaited(awaited: readonly Sharer[], now: number): string[] {
  const owners: string[] = [];
  for (const { owner, expiresAt } of awaited) {
    if (expiresAt > now) owners.push(owner);
    if (owners.length === MAX_ANSWERED) break;
  }
  return owners;
}

/** For which data work was done, as the text of its result says it. */
export function resultMatch(text: string): string | undefined {
  return /^\{"match":"([^"]*)"/.exec(text)?.[1];
}

function joined(
  { owner, line }: EnterStep,
  stored: StoredKey,
  position: number,
  record: LockRecord,
  { now, wall }: Moment,
): { result: EnterResult; stored: StoredKey } {
  const { parked, lastRun } = stored;
  if (position >= 0) {
    return { result: { acquired: false, record, standing: { is: 'in-line', ahead: position } }, stored };
  }
  const me = { owner, since: wall };
  if (line !== 'newest') {
    const standing = { is: 'in-line', ahead: parked.length } as const;
    return { result: { acquired: false, record, standing }, stored: { ...stored, parked: [...parked, me] } };
  }
  const outdone = parked[0]?.owner;
  const expiresAt = Math.max(lastRun?.expiresAt ?? 0, now + REMEMBER_OUTDONE_MS);
  return {
    result: { acquired: false, record, standing: { is: 'in-line', ahead: 0, outdone } },
    stored: {
      ...stored,
      parked: [me],
      lastRun: lastRun && outdone !== undefined ? { ...lastRun, expiresAt } : lastRun,
    },
  };
}

/** Decides a release. */
export function decideLeave(
  step: LeaveStep,
  stored: StoredKey,
  { now, wall }: Moment,
): { result: LeaveResult; stored: StoredKey } {
  const own = stored.places.find(place => isHeldBy(step, place));
  if (!own) return { result: { released: false, ...whoComesNext(step, stored, now) }, stored };
  const kept = decideRelease(step, own, now);
  const others = stored.places.filter(place => place !== own);
  const places = kept ? stored.places.map(place => (place === own ? kept : place)) : others;
  const lastRun = stored.lastRun ?? { owner: own.owner, since: wall, expiresAt: 0 };
  const expiresAt = Math.max(lastRun.expiresAt, now + step.rememberFor);
  const left = keepResult(
    step,
    {
      places,
      parked: stored.parked,
      lastRun: step.line === 'newest' ? { ...lastRun, expiresAt } : stored.lastRun,
      kept: stored.kept,
    },
    now,
  );
  return { result: { released: true, ...whoComesNext(step, left, now) }, stored: left };
}

/** Keeps the result of work that was done, if the step has one. Those who were parked for it in the line `'together'` leave it with that. */
export function keepResult<Key extends Pick<StoredKey, 'parked' | 'kept'>>(
  { line, result, dedupeFor, rememberFor = 0 }: ReleaseStep & Partial<LeaveStep>,
  stored: Key,
  now: number,
): Key {
  if (!result) return stored;
  const leaving = line === 'together' ? stored.parked : [];
  const hasLeft = new Set(leaving.map(({ owner }) => owner));
  // The newest result serves those too that have not come for an earlier one, for as long as they had.
  const before = (stored.kept?.awaited ?? []).filter(one => one.expiresAt > now && !hasLeft.has(one.owner));
  const until = now + Math.max(dedupeFor, rememberFor);
  const awaited = [...before, ...leaving.map(({ owner }) => ({ owner, expiresAt: until }))];
  if (awaited.length === 0 && dedupeFor === 0) return stored;
  // Each may come as long as it was told, though the one that did the work last was to wait for less.
  const atLeast = awaited.length > 0 ? until : now + dedupeFor;
  const expiresAt = awaited.reduce((latest, one) => Math.max(latest, one.expiresAt), atLeast);
  const parked = leaving.length > 0 ? [] : stored.parked;
  return { ...stored, parked, kept: { text: result.text, expiresAt, awaited, served: [] } };
}

/** Who is to be promoted now. */
function whoComesNext(
  step: LeaveStep,
  stored: StoredKey,
  now: number,
): Pick<LeaveResult, 'next' | 'answered'> {
  const next = nextOf(step, stored);
  const answered = step.line === 'together' ? firstAwaited(stored.kept?.awaited ?? [], now) : [];
  return answered.length > 0 ? { next, answered } : { next };
}

/**
 * Whose turn it is: the last of those for whom there is a free place. Those before it were told before, by a release; a holder that finds
 * a place free tells the first. Where the key stays done, the first is told, so that it comes back when the window is over.
 */
function nextOf({ places, line, dedupeFor, reservation }: LeaveStep, stored: StoredKey): string | undefined {
  const free = Math.max(places - stored.places.length, dedupeFor > 0 && !reservation ? 1 : 0);
  return line && stored.parked[Math.min(free, stored.parked.length) - 1]?.owner;
}

/** Removes an owner from the line; the same object where it is not in it. */
export function withoutParked<Key extends StoredKey>(stored: Key, owner: string): Key {
  const parked = stored.parked.filter(one => one.owner !== owner);
  return parked.length < stored.parked.length ? { ...stored, parked } : stored;
}

export function describeLine(
  { owner }: LineQuery,
  { places, parked }: Pick<StoredKey, 'places' | 'parked'>,
): LineRecord {
  const ahead = parked.findIndex(one => one.owner === owner);
  return {
    held: places.length,
    parked: parked.length,
    head: parked[0]?.owner,
    ahead: ahead < 0 ? undefined : ahead,
    holds: places.some(place => place.owner === owner),
  };
}

/** Who is in the way of a step on a free key: the owner whose turn it is, or a newer one that has run. */
export function parkedRecord(
  storedKey: string,
  { owner, since }: Parked,
  state: 'parked' | 'done' = 'parked',
): LockRecord {
  return { storedKey, state, owner, fence: 0, attempt: 0, since, expiresIn: 0, ttl: 0 };
}

/** The newer owner by which a step's own is outdone: one that holds the key, that is parked for it, or that has run. */
function newerThan(
  step: EnterStep,
  { places, parked: [parked], lastRun }: StoredKey,
  { now, wall }: Moment,
): LockRecord | undefined {
  const isRerun = step.attempt > 1;
  const holder = places.find(place => isOlder(step.owner, place, wall, isRerun));
  if (holder) return recordOf(step.storedKey, holder, now);
  if (
    parked &&
    (isOlder(step.owner, parked, wall, isRerun) || (isRerun && !haveAges(step.owner, parked.owner)))
  ) {
    return parkedRecord(step.storedKey, parked);
  }
  if (!lastRun || lastRun.owner === step.owner) return undefined;
  // A job that comes for the first time is refused on a free key only if its queue's own number says that it is older.
  const isOutdone = isRerun
    ? isOlder(step.owner, lastRun, wall, isRerun)
    : isOlderByNumber(ageOf(step.owner), ageOf(lastRun.owner), lastRun.since, wall);
  return isOutdone ? parkedRecord(step.storedKey, lastRun, 'done') : undefined;
}

/** Where an age is not known, the one that comes again came first. */
function haveAges(owner: string, other: string): boolean {
  return ageOf(owner) !== undefined && ageOf(other) !== undefined;
}

/** What jobs are compared by. */
interface Age {
  readonly queue: string;
  /** The number that its queue gave the job; absent where its producer chose its id. */
  readonly number: number | undefined;
  /** When it was created, in ms since the epoch, as its producer says. */
  readonly timestamp: number;
}

function ageOf(owner: string): Age | undefined {
  const job = jobOfOwner(owner);
  // A producer may give any time.
  if (!job || !Number.isSafeInteger(job.timestamp) || !/@-?\d+$/.test(owner)) return undefined;
  const number = /^[1-9]\d{0,14}$/.test(job.jobId) ? Number(job.jobId) : undefined;
  return { queue: job.queueQualifiedName, number, timestamp: job.timestamp };
}

/**
 * Whether a job that comes is older than another.
 * @param other - and when it came. A producer may choose a time ahead: nobody is newer than when it came.
 */
function isOlder(owner: string, other: Parked, wall: number, isRerun: boolean): boolean {
  const age = ageOf(owner);
  const otherAge = ageOf(other.owner);
  if (!age || !otherAge || owner === other.owner) return false;
  if (areNumbered(age, otherAge)) return isOlderByNumber(age, otherAge, other.since, wall);
  // When a job that comes again came first is not known.
  const created = age.timestamp <= wall ? age.timestamp : isRerun ? 0 : wall;
  const otherCreated = Math.min(otherAge.timestamp, other.since);
  return created < otherCreated || (isRerun && created === otherCreated);
}

/**
 * An obliterated queue counts anew: a job with a lower number is not older if it was created when the other had come. That it was
 * created at a time ahead says nothing.
 * @param since - when the other came.
 */
function isOlderByNumber(age: Age | undefined, other: Age | undefined, since: number, wall: number): boolean {
  if (!age || !other || !areNumbered(age, other)) return false;
  const isOfNewCount = age.timestamp > Math.max(other.timestamp, since) && age.timestamp <= wall;
  return (age.number as number) < (other.number as number) && !isOfNewCount;
}

function areNumbered(age: Age, other: Age): boolean {
  return age.queue === other.queue && age.number !== undefined && other.number !== undefined;
}
