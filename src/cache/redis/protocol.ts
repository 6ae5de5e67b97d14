/** Writes a batch for the script of `redis-script.ts`, and reads its reply. */

import type { Answers, Arrival, Batch, Claim, Holder, Newest, Verdict } from '../contract.ts';
import { foreignHolder, holderOf, parseRecord } from '../lock-rules.ts';

/** One call of the script. */
export interface ScriptCall {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

export function writeBatch({ releases, renewals, claims }: Batch): ScriptCall {
  const groups = new Groups();
  const keys: string[] = [];
  const parts: string[] = [];
  for (const { key, token, keepFor } of releases) {
    groups.add('release', keepFor);
    keys.push(key);
    parts.push(tokenPart(token));
  }
  for (const { key, token, ttl } of renewals) {
    groups.add('renew', ttl);
    keys.push(key);
    parts.push(tokenPart(token));
  }
  for (const { key, token, ttl, attempt, owner, waits } of claims) {
    groups.add(waits ? 'wait' : 'claim', ttl);
    keys.push(key);
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

  add(verb: 'release' | 'renew' | 'claim' | 'wait', ms: number): void {
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

/** What the script says of a step that was not plainly done. */
type Special = number | readonly ['held', string, number] | readonly ['error', string];

/** @throws Error it is no reply to this batch. */
export function readReply(reply: unknown, { releases, renewals, claims }: Batch): Answers {
  const steps = releases.length + renewals.length + claims.length;
  if (!Array.isArray(reply) || typeof reply[0] !== 'number' || reply[1]?.length !== steps) {
    throw new Error(`Redis answered ${JSON.stringify(reply)} where ${steps} answers were due`);
  }
  const [fence, marks, ...specials] = reply as [number, string, ...Special[]];
  const taken: Verdict = { taken: true, fence, tookOver: false };
  let step = 0;
  let special = 0;
  let last: Verdict | Error | undefined;

  function yesOrNo(): boolean | Error {
    const mark = marks[step++];
    return mark === '+' ? failureOf(specials[special++]) : mark === '1';
  }
  function verdict({ key }: Claim): Verdict | Error {
    const mark = marks[step++];
    if (mark === '1') return taken;
    if (mark === '+') last = verdictOf(key, specials[special++]);
    return last ?? failureOf(undefined);
  }
  return {
    released: releases.map(yesOrNo),
    renewed: renewals.map(yesOrNo),
    claimed: claims.map(verdict),
  };
}

function verdictOf(key: string, special: Special | undefined): Verdict | Error {
  if (typeof special === 'number') return { taken: true, fence: Math.abs(special), tookOver: special < 0 };
  if (special?.[0] !== 'held') return failureOf(special);
  return { taken: false, holder: holderFrom(key, special[1], special[2]) };
}

function failureOf(special: Special | undefined): Error {
  const isFailure = Array.isArray(special) && special[0] === 'error';
  return new Error(isFailure ? special[1] : `Redis gave ${JSON.stringify(special)} for an answer`);
}

/** @param left - ms for which the value stays, less than 0 if it stays for ever. */
export function holderFrom(key: string, value: string, left: number): Holder {
  const expiresIn = left < 0 ? Number.POSITIVE_INFINITY : left;
  const record = parseRecord(value.replace(AWAITED, RUNNING));
  return record ? { ...holderOf(key, record, 0), expiresIn } : foreignHolder(key, expiresIn);
}

/** A lease whose end someone is to be told of, and what it is otherwise. */
const AWAITED = /^\{"once":1,"state":"awaited"/;
const RUNNING = '{"once":1,"state":"running"';

export function writeArrivals(arrivals: readonly Arrival[]): ScriptCall {
  const args: (string | number)[] = [arrivals.length];
  for (const { order, rerun, waits, owner, keepFor } of arrivals) {
    args.push(order, rerun ? 1 : 0, waits ? '+' : '-', owner, Math.ceil(keepFor));
  }
  return { keys: arrivals.map(({ key }) => key), args };
}

export function readNewest(reply: unknown): (Newest | Error)[] {
  return (reply as [string, string, string?][]).map(([owner, waits, outdone]) =>
    outdone === undefined
      ? new Error(waits)
      : { owner, waits: waits === '+', outdone: outdone === '' ? undefined : outdone },
  );
}
