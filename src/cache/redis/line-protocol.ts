/** Writes the arguments of the script of `line-scripts.ts`, and reads its replies. */

import { lineName, resultName } from '../../key/line-name.ts';
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
import {
  type Encoded,
  errorFrom,
  leasePart,
  numberFrom,
  readRecord,
  type ScriptCall,
  textFrom,
  tokenPart,
} from './protocol.ts';

/** A step, written. Each argument costs the client some time, so its numbers are words of the first. */
export interface LineStep {
  readonly storedKey: string;
  readonly args: readonly string[];
  /** It is about a result too. */
  readonly hasResult?: boolean;
}

export function enterStep(step: EnterStep): LineStep {
  const { storedKey, owner, attempt, ttl, places, line = NO_LINE, reservedAfter = 0, match } = step;
  const flags = `${flag(step.joins)} ${flag(step.notify)} ${flag(step.interrupts)}`;
  const verb = `enter ${places} ${line} ${flags} ${Math.ceil(ttl)} ${attempt} ${reservedAfter}`;
  const args = [match === undefined ? verb : `${verb} ${match}`, leasePart(step), owner];
  return { storedKey, args, hasResult: line === 'together' };
}

export function leaveStep(step: LeaveStep): LineStep {
  const { storedKey, token, dedupeFor, places, line = NO_LINE, reservation, rememberFor, result } = step;
  const times = `${places} ${line} ${Math.ceil(dedupeFor)} ${Math.ceil(rememberFor)}`;
  const hasResult = line === 'together' || result !== undefined;
  if (result) {
    return { storedKey, args: [`keep ${times} ${result.bytes}`, tokenPart(token), result.text], hasResult };
  }
  const reserving = reservation ? ` ${graceOf(reservation)} ${Math.ceil(reservation.lastsFor)}` : '';
  return { storedKey, args: [`leave ${times}${reserving}`, tokenPart(token)], hasResult };
}

export function lineStep(verb: 'line' | 'strike', { storedKey, owner }: LineQuery): LineStep {
  return { storedKey, args: [verb, owner] };
}

const NO_LINE = '-';

function flag(isSet: boolean | undefined): number {
  return isSet ? 1 : 0;
}

/** One call for some steps. */
export function writeLineSteps(steps: readonly LineStep[]): ScriptCall {
  const keys: string[] = [];
  const all: (string | number)[] = [steps.length];
  for (const { storedKey, args } of steps) {
    keys.push(storedKey, lineName(storedKey));
    all.push(...args);
  }
  for (const { storedKey, hasResult } of steps) if (hasResult) keys.push(resultName(storedKey));
  return { keys, args: all };
}

/** The reply to one step. */
export type LineReply = readonly Encoded[] | Encoded;

/** @throws Error it is no reply to so many steps. */
export function readLineReplies(reply: unknown, steps: number): LineReply[] {
  if (Array.isArray(reply) && reply.length === steps) return reply as LineReply[];
  throw new Error(`Redis answered ${JSON.stringify(reply)} where ${steps} answers were due`);
}

export function readEntered(reply: LineReply, { storedKey }: EnterStep): EnterResult | Error {
  if (!Array.isArray(reply)) return errorFrom(reply);
  const [kind, first, second, third, fourth, text] = reply as Encoded[];
  switch (textFrom(kind as Encoded)) {
    case 'acquired': {
      const fence = numberFrom(first as Encoded);
      return {
        acquired: true,
        fence,
        reclaimed: numberFrom(second as Encoded) === 1,
        next: ownerFrom(third),
      };
    }
    case 'absent':
      return { acquired: false, standing: { is: 'not-in-line' } };
    case 'answered': {
      const result = textFrom(first as Encoded);
      return { acquired: false, standing: { is: 'answered', result, next: ownerFrom(second) } };
    }
    case 'held': {
      const record = readRecord(storedKey, first as Encoded, second as Encoded);
      const isDone = text !== undefined;
      const standing = isDone
        ? ({ is: 'answered', result: textFrom(text) } as const)
        : standingFrom(third, fourth);
      return { acquired: false, record, standing };
    }
    case 'parked':
    case 'done': {
      const parked = { owner: textFrom(first as Encoded), since: numberFrom(second as Encoded) };
      const record = parkedRecord(storedKey, parked, textFrom(kind as Encoded) as 'parked' | 'done');
      return { acquired: false, record, standing: standingFrom(third, fourth) };
    }
    default:
      return errorFrom(reply as readonly Encoded[]);
  }
}

export function readLeft(reply: LineReply): LeaveResult | Error {
  if (!isAnswer(reply)) return errorFrom(reply);
  const [released, next, answered] = reply as readonly [Encoded, Encoded, (readonly Encoded[])?];
  const left = { released: numberFrom(released) === 1, next: ownerFrom(next) };
  return answered ? { ...left, answered: answered.map(textFrom) } : left;
}

export function readLine(reply: LineReply): LineRecord | Error {
  if (!isAnswer(reply)) return errorFrom(reply);
  const [held, parked, head, ahead, holds] = reply as readonly Encoded[];
  const position = numberFrom(ahead as Encoded);
  return {
    held: numberFrom(held as Encoded),
    parked: numberFrom(parked as Encoded),
    head: ownerFrom(head),
    ahead: position < 0 ? undefined : position,
    holds: numberFrom(holds as Encoded) === 1,
  };
}

export function readStruck(reply: LineReply): boolean | Error {
  return Array.isArray(reply) ? errorFrom(reply as readonly Encoded[]) : numberFrom(reply as Encoded) === 1;
}

/** Whether it is an array that begins with a number: an error begins with a word. */
function isAnswer(reply: LineReply): boolean {
  return Array.isArray(reply) && Number.isInteger(numberFrom(reply[0] as Encoded));
}

function ownerFrom(encoded: Encoded | undefined): string | undefined {
  return encoded === undefined ? undefined : textFrom(encoded) || undefined;
}

function standingFrom(ahead: Encoded | undefined, outdone: Encoded | undefined): Standing | undefined {
  const position = numberFrom(ahead as Encoded);
  if (position === -1) return { is: 'outdone' };
  return position < 0 ? undefined : { is: 'in-line', ahead: position, outdone: ownerFrom(outdone) };
}
