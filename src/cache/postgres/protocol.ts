/** Writes the parameters of the queries of `queries.ts`, and reads their rows. */

import { createHash } from 'node:crypto';
import { countSteps } from '../batching/split.ts';
import type { AcquireResult, Batch, BatchResults, LockRecord } from '../contract.ts';
import { graceOf, liveRecordOf } from '../lock-rules.ts';

/** The longest duration: a hundred years. The database's clock does not reach much further. */
const MAX_DURATION_MS = 100 * 365 * 86_400_000;

/**
 * A step as the functions take it. `owner` is the grace of a reservation, or of 'keep' the bytes of the result. `more` is the text of the
 * result, or of an acquisition what must be equal.
 */
export type WrittenStep = [
  verb: 'release' | 'keep' | 'reserve' | 'renew' | 'acquire' | 'acquire-notify',
  key: string,
  token: string,
  ms: number,
  owner: string | null,
  attempt: number | null,
  more?: string,
];

/** Writes the steps of a batch in the order of their answers. */
export function writeSteps({ releases, renewals, acquisitions }: Batch): WrittenStep[] {
  const steps: WrittenStep[] = [];
  for (const { storedKey, token, dedupeFor, reservation, result } of releases) {
    if (result && !reservation) {
      const { bytes, text } = result;
      const kept = [String(bytes), null, escapeNul(text)] as const;
      steps.push(['keep', rowKey(storedKey), escapeNul(token), wholeMs(dedupeFor), ...kept]);
      continue;
    }
    const verb = reservation ? 'reserve' : 'release';
    const ms = wholeMs(reservation?.lastsFor ?? dedupeFor);
    const grace = reservation ? String(graceOf(reservation)) : null;
    steps.push([verb, rowKey(storedKey), escapeNul(token), ms, grace, null]);
  }
  for (const { storedKey, token, ttl } of renewals) {
    steps.push(['renew', rowKey(storedKey), escapeNul(token), wholeMs(ttl), null, null]);
  }
  for (const { storedKey, token, ttl, owner, attempt, notify, match } of acquisitions) {
    const verb = notify ? 'acquire-notify' : 'acquire';
    const step: WrittenStep = [
      verb,
      rowKey(storedKey),
      escapeNul(token),
      wholeMs(ttl),
      escapeNul(owner),
      attempt,
    ];
    if (match !== undefined) step[6] = match;
    steps.push(step);
  }
  return steps;
}

/** A lock as it is found. */
export type Held = readonly [
  state: 'running' | 'reserved' | 'done',
  owner: string,
  attempt: number,
  fence: number,
  since: number,
  expiresIn: number,
  ttl: number,
  grace: number | null,
  match: string | null,
  resultBytes: number | null,
];
/** A number is the fence of an acquisition that reclaimed nothing. */
type Answer = boolean | number | readonly [fence: number, reclaimed: boolean] | Held;

/**
 * @returns the results of the batch, and how many expired locks were swept.
 * @throws Error it is no answer to this batch.
 */
export function readAnswers(text: unknown, batch: Batch): { results: BatchResults; swept: number } {
  const steps = countSteps(batch);
  const answers = readList(text, steps + 1) as Answer[];
  return { results: resultsOf(answers, batch), swept: answers[steps] as number };
}

/** Reads the answer to a batch of one step. */
export function readAnswer(text: unknown, batch: Batch): BatchResults {
  const answer: unknown = typeof text === 'string' ? JSON.parse(text) : text;
  return resultsOf([answer as Answer], batch);
}

function resultsOf(answers: readonly Answer[], { releases, renewals, acquisitions }: Batch): BatchResults {
  const firstRenewal = releases.length;
  const firstAcquisition = firstRenewal + renewals.length;
  return {
    released: releases.map((_, i) => answers[i] === true),
    renewed: renewals.map((_, i) => answers[firstRenewal + i] === true),
    acquired: acquisitions.map(({ storedKey }, i) =>
      acquireResultFrom(storedKey, answers[firstAcquisition + i] as Answer),
    ),
  };
}

function acquireResultFrom(storedKey: string, answer: Answer): AcquireResult | Error {
  if (typeof answer === 'number') return { acquired: true, fence: answer, reclaimed: false };
  if (Array.isArray(answer) && answer.length === 2) {
    return { acquired: true, fence: answer[0], reclaimed: answer[1] };
  }
  if (Array.isArray(answer)) {
    return { acquired: false, record: recordFrom(storedKey, answer as unknown as Held) };
  }
  return new Error(`PostgreSQL gave ${JSON.stringify(answer)} for an answer`);
}

/** Reads the rows of `resultsSql`. */
export function readResults(
  rows: readonly { readonly key: string; readonly result: string }[],
  storedKeys: readonly string[],
): (string | undefined)[] {
  const texts = new Map(rows.map(({ key, result }) => [key, result]));
  return storedKeys.map(storedKey => {
    const text = texts.get(rowKey(storedKey));
    return text === undefined ? undefined : unescapeNul(text);
  });
}

/** @throws Error it is no list of so many answers. */
export function readList(text: unknown, length: number): unknown[] {
  const list: unknown = typeof text === 'string' ? JSON.parse(text) : text;
  if (Array.isArray(list) && list.length === length) return list;
  throw new Error(`PostgreSQL answered ${JSON.stringify(text)} where ${length} answers were due`);
}

type Found = readonly [rowKey: string, place: number, held: Held];

/** Reads the rows of `inspectSql`: the record of each key. */
export function readRecords(
  rows: readonly { readonly found: string }[],
  storedKeys: readonly string[],
): (LockRecord | undefined)[] {
  const records = new Map<string, Held>();
  for (const { found } of rows) {
    const [key, , held] = JSON.parse(found) as Found;
    records.set(key, held);
  }
  return storedKeys.map(storedKey => {
    const held = records.get(rowKey(storedKey));
    return held && recordFrom(storedKey, held);
  });
}

/** Reads the rows of `listSql`: the record of each, its key in the table, and its place. */
export function readPage(
  rows: readonly { readonly found: string }[],
): { rowKey: string; place: number; record: LockRecord }[] {
  return rows.map(({ found }) => {
    const [rowKey, place, held] = JSON.parse(found) as Found;
    return { rowKey, place, record: recordFrom(unescapeNul(rowKey), held) };
  });
}

/** The beginning of a name, as it stands in the table. */
export function rowPrefix(prefix: string): string {
  return escapeNul(prefix);
}

export function recordFrom(storedKey: string, held: Held): LockRecord {
  const [state, owner, attempt, fence, since, expiresIn, ttl, grace, match, resultBytes] = held;
  const stored = {
    state,
    token: '',
    owner: unescapeNul(owner),
    fence,
    attempt,
    since,
    ttl,
    ...(grace !== null && { grace }),
    ...(match !== null && { match }),
    ...(resultBytes !== null && { resultBytes }),
  };
  return liveRecordOf(storedKey, stored, Math.max(expiresIn, 0));
}

/** The most bytes of a name that are stored as they are: an index takes no more than about 2700. */
const MAX_ROW_KEY_BYTES = 1024;
/** How much of a longer name can be read in the table, in UTF-16 units. */
const READABLE_LENGTH = 200;

/** The name of a key in the table: one that is too long ends in a hash of all of it. */
export function rowKey(storedKey: string): string {
  const isShort =
    storedKey.length * 3 <= MAX_ROW_KEY_BYTES || Buffer.byteLength(storedKey) <= MAX_ROW_KEY_BYTES;
  if (isShort) return escapeNul(storedKey);
  const hash = createHash('sha256').update(storedKey).digest('base64url');
  // No short name contains this mark: an escaped backslash is followed by another, or by a zero.
  return `${escapeNul(storedKey.slice(0, READABLE_LENGTH).toWellFormed())}\\#${hash}`;
}

/** What the channel carries when a key is released: a hash of its name in the table. */
export function notifiedAs(storedKey: string): string {
  return createHash('sha256').update(rowKey(storedKey)).digest('base64');
}

/** PostgreSQL's strings can't contain the character NUL. */
export function escapeNul(text: string): string {
  return /[\\\0]/.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('\0', '\\0') : text;
}

export function unescapeNul(text: string): string {
  return text.includes('\\')
    ? text.replace(/\\([\\0])/g, (_, escaped) => (escaped === '0' ? '\0' : '\\'))
    : text;
}

export function wholeMs(ms: number): number {
  return Math.min(Math.ceil(ms), MAX_DURATION_MS);
}
