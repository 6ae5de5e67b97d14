/** Writes the arguments of the scripts of `scripts.ts`, and reads their replies. */

import { resultName } from '../../key/line-name.ts';
import { countSteps } from '../batching/split.ts';
import type {
  AcquireResult,
  AcquireStep,
  Batch,
  BatchResults,
  ForceReleaseStep,
  LockRecord,
} from '../contract.ts';
import { foreignRecord, graceOf, liveRecordOf, parseStored } from '../lock-rules.ts';
import { refused } from '../refusals.ts';

/** One call of a script. */
export interface ScriptCall {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

export function writeBatch({ releases, renewals, acquisitions }: Batch): ScriptCall {
  const groups = new Groups();
  const keys: string[] = [];
  const parts: string[] = [];
  const results: string[] = [];
  const texts: string[] = [];
  for (const { storedKey, token, dedupeFor, reservation, result } of releases) {
    const verb = reservation ? 'reserve' : result ? 'keep' : 'release';
    groups.add(verb, reservation?.lastsFor ?? dedupeFor);
    keys.push(storedKey);
    const more = reservation ? graceOf(reservation) : result?.bytes;
    parts.push(more === undefined ? tokenPart(token) : `${more},"token":${tokenPart(token)}`);
    if (verb !== 'keep' || !result) continue;
    results.push(resultName(storedKey));
    texts.push(result.text);
  }
  for (const { storedKey, token, ttl } of renewals) {
    groups.add('renew', ttl);
    keys.push(storedKey);
    parts.push(tokenPart(token));
  }
  for (const step of acquisitions) {
    groups.add(step.notify ? 'acquire-notify' : 'acquire', step.ttl);
    keys.push(step.storedKey);
    parts.push(leasePart(step));
  }
  return { keys: keys.concat(results), args: groups.header().concat(parts, texts) };
}

/** Counts the steps of one kind, one after another, that share a duration. */
class Groups {
  readonly #header: (string | number)[] = [0];
  #verb = '';
  #ms = 0;
  #steps = 0;

  add(verb: 'release' | 'keep' | 'reserve' | 'renew' | 'acquire' | 'acquire-notify', ms: number): void {
    if (verb === this.#verb && ms === this.#ms) {
      this.#steps++;
      return;
    }
    this.#close();
    this.#verb = verb;
    this.#ms = ms;
    this.#steps = 1;
  }

  /** How many groups there are, then verb, steps and ms of each. */
  header(): (string | number)[] {
    this.#close();
    this.#header[0] = (this.#header.length - 1) / 3;
    return this.#header;
  }

  #close(): void {
    if (this.#steps > 0) this.#header.push(this.#verb, this.#steps, Math.ceil(this.#ms));
  }
}

/** Our own tokens need no escapes. */
const PLAIN = /^[\w.-]*$/;

/** The part of a record by which a lease is recognised. */
export function tokenPart(token: string): string {
  return PLAIN.test(token) ? `"${token}",` : `${JSON.stringify(token)},`;
}

/** The part of a record from the token to the owner. */
export function leasePart({ token, ttl, attempt, match, owner }: AcquireStep): string {
  const matching = match === undefined ? '' : `"match":${JSON.stringify(match)},`;
  return `${tokenPart(token)}"ttl":${Math.ceil(ttl)},"attempt":${attempt},${matching}"owner":${JSON.stringify(owner)}`;
}

/**
 * Clients may be told to decode replies in their own way: strings as buffers, numbers as strings or bigints (`stringNumbers` of
 * ioredis, `typeMapping` of node-redis, `Decoder.Bytes` of GLIDE). All of these are read.
 */
export type Encoded = string | Uint8Array | number | bigint;

export function textFrom(value: Encoded): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString() : String(value);
}

/** `NaN` where it is none. */
export function numberFrom(value: Encoded): number {
  return typeof value === 'number' ? value : Number.parseInt(textFrom(value), 10);
}

/** A reply, as errors show it. */
function showReply(reply: unknown): string {
  return JSON.stringify(reply, (_, value) => (typeof value === 'bigint' ? String(value) : value));
}

/** The answer to a step that was not plainly done: a fence, or `['held', value, ms left]`, or `['error', message]`. */
export type SpecialAnswer = Encoded | readonly Encoded[];

/** @throws Error it is no reply to this batch. */
export function readReply(reply: unknown, batch: Batch): BatchResults {
  const steps = countSteps(batch);
  const [head, encodedMarks, ...specials] = Array.isArray(reply) ? (reply as SpecialAnswer[]) : [];
  const fence = numberFrom(head as Encoded);
  const marks = textFrom(encodedMarks as Encoded);
  if (!Number.isSafeInteger(fence) || marks.length !== steps) {
    throw new Error(`Redis answered ${showReply(reply)} where ${steps} answers were due`);
  }
  const granted: AcquireResult = { acquired: true, fence, reclaimed: false };
  let step = 0;
  let special = 0;
  let last: AcquireResult | Error | undefined;

  function readYesOrNo(): boolean | Error {
    const mark = marks[step++];
    return mark === '+' ? errorFrom(specials[special++]) : mark === '1';
  }
  function readAcquireResult({ storedKey }: AcquireStep): AcquireResult | Error {
    const mark = marks[step++];
    if (mark === '1') return granted;
    if (mark === '+') last = acquireResultFrom(storedKey, specials[special++]);
    return last ?? errorFrom(undefined);
  }
  return {
    released: batch.releases.map(readYesOrNo),
    renewed: batch.renewals.map(readYesOrNo),
    acquired: batch.acquisitions.map(readAcquireResult),
  };
}

export function acquireResultFrom(
  storedKey: string,
  answer: SpecialAnswer | undefined,
): AcquireResult | Error {
  if (!Array.isArray(answer)) {
    const fence = numberFrom(answer as Encoded);
    if (!Number.isSafeInteger(fence)) return errorFrom(answer);
    return { acquired: true, fence: Math.abs(fence), reclaimed: fence < 0 };
  }
  const [kind, value, msLeft] = answer as Encoded[];
  if (textFrom(kind as Encoded) !== 'held') return errorFrom(answer);
  return { acquired: false, record: readRecord(storedKey, value as Encoded, msLeft as Encoded) };
}

export function errorFrom(answer: SpecialAnswer | undefined): Error {
  const [kind, message] = Array.isArray(answer) ? (answer as Encoded[]) : [];
  if (kind !== undefined && textFrom(kind) === 'error')
    return refused(new Error(textFrom(message as Encoded)));
  return new Error(`Redis gave ${showReply(answer)} for an answer`);
}

/** What the inspecting script says of one key: of each holder the value, and how many ms are left. */
export type InspectReply = readonly Encoded[] | Encoded;

/** @returns the records of those who hold a key. */
export function readInspected(storedKey: string, reply: InspectReply): LockRecord[] {
  const records: LockRecord[] = [];
  if (!Array.isArray(reply)) return records;
  for (let i = 0; i < reply.length; i += 2) records.push(readRecord(storedKey, reply[i], reply[i + 1]));
  return records;
}

/** @param encodedMs - how long the value stays, in ms; less than 0 if it stays for ever. */
export function readRecord(storedKey: string, encoded: Encoded, encodedMs: Encoded): LockRecord {
  const msLeft = numberFrom(encodedMs);
  const expiresIn = msLeft < 0 ? Number.POSITIVE_INFINITY : msLeft;
  const stored = parseStored(textFrom(encoded).replace(AWAITED, RUNNING));
  return stored ? liveRecordOf(storedKey, stored, expiresIn) : foreignRecord(storedKey, expiresIn);
}

export function writeForceReleases(steps: readonly ForceReleaseStep[]): ScriptCall {
  const fences = steps.map(({ fence }) => fence ?? '');
  return {
    keys: steps.map(({ storedKey }) => storedKey),
    args: [steps.length, ...fences],
  };
}

/** Reads whether a lock was there, for each key that was to be freed. */
export function readFreed(reply: unknown): boolean[] {
  return (reply as Encoded[]).map(answer => numberFrom(answer) === 1);
}

/** Reads a scan: the next cursor, and some names. */
export function readScan(reply: unknown): { cursor: string; names: string[] } {
  const [cursor, names] = reply as [Encoded, Encoded[]];
  return { cursor: textFrom(cursor), names: names.map(textFrom) };
}

/** A lease whose release is to be notified. To everyone else it is running. */
const AWAITED = /^\{"once":1,"state":"awaited"/;
const RUNNING = '{"once":1,"state":"running"';
