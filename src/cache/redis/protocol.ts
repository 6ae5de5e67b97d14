/** Writes the arguments of the scripts of `scripts.ts`, and reads their replies. */

import type {
  AcquireResult,
  AcquireStep,
  Arrival,
  Batch,
  BatchResults,
  LockRecord,
  Newest,
} from '../contract.ts';
import { foreignRecord, parseStored, recordOf } from '../lock-rules.ts';

/** One call of a script. */
export interface ScriptCall {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

export function writeBatch({ releases, renewals, acquisitions }: Batch): ScriptCall {
  const groups = new Groups();
  const keys: string[] = [];
  const parts: string[] = [];
  for (const { storedKey, token, dedupeFor } of releases) {
    groups.add('release', dedupeFor);
    keys.push(storedKey);
    parts.push(tokenPart(token));
  }
  for (const { storedKey, token, ttl } of renewals) {
    groups.add('renew', ttl);
    keys.push(storedKey);
    parts.push(tokenPart(token));
  }
  for (const { storedKey, token, ttl, attempt, owner, notify } of acquisitions) {
    groups.add(notify ? 'acquire-notify' : 'acquire', ttl);
    keys.push(storedKey);
    parts.push(`${tokenPart(token)}"attempt":${attempt},"owner":${JSON.stringify(owner)}`);
  }
  return { keys, args: groups.header().concat(parts) };
}

/** Counts the steps of one kind, one after another, that share a duration. */
class Groups {
  readonly #header: (string | number)[] = [0];
  #verb = '';
  #ms = 0;
  #steps = 0;

  add(verb: 'release' | 'renew' | 'acquire' | 'acquire-notify', ms: number): void {
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

function tokenPart(token: string): string {
  return `${JSON.stringify(token)},`;
}

/** The answer to a step that was not plainly done. */
type SpecialAnswer = number | readonly ['held', string, number] | readonly ['error', string];

/** @throws Error it is no reply to this batch. */
export function readReply(reply: unknown, { releases, renewals, acquisitions }: Batch): BatchResults {
  const steps = releases.length + renewals.length + acquisitions.length;
  if (!Array.isArray(reply) || typeof reply[0] !== 'number' || reply[1]?.length !== steps) {
    throw new Error(`Redis answered ${JSON.stringify(reply)} where ${steps} answers were due`);
  }
  const [fence, marks, ...specials] = reply as [number, string, ...SpecialAnswer[]];
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
    released: releases.map(readYesOrNo),
    renewed: renewals.map(readYesOrNo),
    acquired: acquisitions.map(readAcquireResult),
  };
}

function acquireResultFrom(storedKey: string, answer: SpecialAnswer | undefined): AcquireResult | Error {
  if (typeof answer === 'number') return { acquired: true, fence: Math.abs(answer), reclaimed: answer < 0 };
  if (answer?.[0] !== 'held') return errorFrom(answer);
  return { acquired: false, record: readRecord(storedKey, answer[1], answer[2]) };
}

function errorFrom(answer: SpecialAnswer | undefined): Error {
  const isError = Array.isArray(answer) && answer[0] === 'error';
  return new Error(isError ? answer[1] : `Redis gave ${JSON.stringify(answer)} for an answer`);
}

/** @param msLeft - how long the value stays; less than 0 if it stays for ever. */
export function readRecord(storedKey: string, value: string, msLeft: number): LockRecord {
  const expiresIn = msLeft < 0 ? Number.POSITIVE_INFINITY : msLeft;
  const stored = parseStored(value.replace(AWAITED, RUNNING));
  return stored ? { ...recordOf(storedKey, stored, 0), expiresIn } : foreignRecord(storedKey, expiresIn);
}

/** A lease whose release is to be notified. To everyone else it is running. */
const AWAITED = /^\{"once":1,"state":"awaited"/;
const RUNNING = '{"once":1,"state":"running"';

export function writeArrivals(arrivals: readonly Arrival[]): ScriptCall {
  const args: (string | number)[] = [arrivals.length];
  for (const { order, rerun, parked, owner, rememberFor } of arrivals) {
    args.push(order, rerun ? 1 : 0, parked ? '+' : '-', owner, Math.ceil(rememberFor));
  }
  return { keys: arrivals.map(({ storedKey }) => storedKey), args };
}

export function readNewest(reply: unknown): (Newest | Error)[] {
  return (reply as [string, string, string?][]).map(([owner, parked, outdone]) =>
    outdone === undefined
      ? new Error(parked)
      : { owner, parked: parked === '+', outdone: outdone === '' ? undefined : outdone },
  );
}
