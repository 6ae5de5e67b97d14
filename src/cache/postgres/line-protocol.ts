/** Writes the steps of the functions of `line-sql.ts`, and reads their answers. */

import type {
  EnterResult,
  EnterStep,
  LeaveResult,
  LeaveStep,
  LineQuery,
  LineRecord,
  Standing,
} from '../contract.ts';
import { parkedRecord } from '../line-rules.ts';
import { graceOf } from '../lock-rules.ts';
import { escapeNul, type Held, readList, recordFrom, rowKey, unescapeNul, wholeMs } from './protocol.ts';

/** A step on a key and its line, as it is written. */
export type LineStep = readonly [verb: 'enter' | 'leave' | 'strikeOut', key: string, ...rest: unknown[]];

export function enterStep(step: EnterStep): LineStep {
  const {
    storedKey,
    token,
    ttl,
    owner,
    attempt,
    places,
    line = '',
    joins,
    notify = false,
    interrupts,
    reservedAfter = 0,
    match,
  } = step;
  return [
    'enter',
    rowKey(storedKey),
    escapeNul(token),
    wholeMs(ttl),
    escapeNul(owner),
    attempt,
    places,
    line,
    joins,
    notify,
    interrupts,
    reservedAfter,
    ...(match === undefined ? [] : [match]),
  ];
}

export function leaveStep(step: LeaveStep): LineStep {
  const { storedKey, token, dedupeFor, reservation, places, line = '', rememberFor, result } = step;
  const doneOrFree = dedupeFor > 0 ? 'done' : '';
  return [
    'leave',
    rowKey(storedKey),
    escapeNul(token),
    wholeMs(reservation?.lastsFor ?? dedupeFor),
    reservation ? 'reserved' : doneOrFree,
    reservation ? graceOf(reservation) : null,
    places,
    line,
    wholeMs(rememberFor),
    ...(result ? [result.bytes, escapeNul(result.text)] : []),
  ];
}

export function strikeOutStep({ storedKey, owner }: LineQuery): LineStep {
  return ['strikeOut', rowKey(storedKey), escapeNul(owner)];
}

/** The parameters of `linesSql`. */
export function writeLineQueries(queries: readonly LineQuery[]): [keys: string[], owners: string[]] {
  return [queries.map(({ storedKey }) => rowKey(storedKey)), queries.map(({ owner }) => escapeNul(owner))];
}

/** Reads the answer to a step that was sent alone. */
export function readLineAnswer(text: unknown): unknown {
  return typeof text === 'string' ? JSON.parse(text) : text;
}

/**
 * @returns the answer to each step, and how many expired rows were swept.
 * @throws Error it is no answer to so many steps.
 */
export function readLineAnswers(text: unknown, steps: number): { answers: unknown[]; swept: number } {
  const answers = readList(text, steps + 1);
  return { swept: answers.pop() as number, answers };
}

interface Refused {
  /** -1: it is outdone. Absent, or `null`: it is in no line. */
  readonly ahead?: number | null;
  readonly outdone?: string | null;
  /** The work was done. */
  readonly result?: string;
}
type InTheWay = readonly [owner: string, since: number];
type Entered =
  | { readonly acquired: readonly [fence: number, reclaimed: boolean]; readonly next: string | null }
  | { readonly absent: true }
  | { readonly answered: string; readonly next: string | null }
  | ({ readonly held: Held } & Refused)
  | ({ readonly parked: InTheWay } & Refused)
  | ({ readonly done: InTheWay } & Refused);

export function readEntered(answer: unknown, { storedKey }: EnterStep): EnterResult {
  const entered = answer as Entered;
  if ('acquired' in entered) {
    const [fence, reclaimed] = entered.acquired;
    return { acquired: true, fence, reclaimed, next: ownerFrom(entered.next) };
  }
  if ('absent' in entered) return { acquired: false, standing: { is: 'not-in-line' } };
  if ('answered' in entered) {
    const result = unescapeNul(entered.answered);
    return { acquired: false, standing: { is: 'answered', result, next: ownerFrom(entered.next) } };
  }
  const standing = standingFrom(entered);
  if ('held' in entered) return { acquired: false, record: recordFrom(storedKey, entered.held), standing };
  const state = 'parked' in entered ? 'parked' : 'done';
  const [owner, since] = 'parked' in entered ? entered.parked : entered.done;
  const record = parkedRecord(storedKey, { owner: unescapeNul(owner), since }, state);
  return { acquired: false, record, standing };
}

function standingFrom({ ahead, outdone, result }: Refused): Standing | undefined {
  if (result !== undefined) return { is: 'answered', result: unescapeNul(result) };
  if (ahead === undefined || ahead === null) return undefined;
  return ahead < 0 ? { is: 'outdone' } : { is: 'in-line', ahead, outdone: ownerFrom(outdone) };
}

export function readLeft(answer: unknown): LeaveResult {
  const [released, next, sharing] = answer as [boolean, string | null, readonly string[] | null];
  const left = { released, next: ownerFrom(next) };
  return sharing ? { ...left, answered: sharing.map(unescapeNul) } : left;
}

/** Reads a row of `linesSql`. */
export function readLine({ line }: { readonly line: string }): LineRecord {
  const [held, parked, head, ahead, holds] = JSON.parse(line) as [
    held: number,
    parked: number,
    head: string | null,
    ahead: number | null,
    holds: boolean,
  ];
  return { held, parked, head: ownerFrom(head), ahead: ahead ?? undefined, holds };
}

function ownerFrom(escaped: string | null | undefined): string | undefined {
  return escaped === null || escaped === undefined ? undefined : unescapeNul(escaped);
}
