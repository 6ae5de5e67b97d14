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

type Arg = string | number;

/** A step, written. */
export interface LineStep {
  readonly storedKey: string;
  readonly args: readonly Arg[];
  /** It is about a result too. */
  readonly hasResult?: boolean;
}

export function enterStep(step: EnterStep): LineStep {
  const { storedKey, owner, attempt, ttl, places, line = '', joins, notify, interrupts, match } = step;
  const args: Arg[] = [match === undefined ? 'enter' : 'enter-match', leasePart(step), owner, attempt];
  args.push(Math.ceil(ttl), places, line, joins ? 1 : 0, notify ? 1 : 0, interrupts ? 1 : 0);
  if (match !== undefined) args.push(match);
  return { storedKey, args, hasResult: line === 'together' };
}

export function leaveStep(step: LeaveStep): LineStep {
  const { storedKey, token, dedupeFor, places, line = '', reservation, rememberFor, result } = step;
  const args: Arg[] = [result ? 'leave-keep' : 'leave', tokenPart(token), Math.ceil(dedupeFor), places, line];
  if (reservation) args.push(graceOf(reservation), Math.ceil(reservation.lastsFor));
  else args.push('', 0);
  args.push(Math.ceil(rememberFor));
  if (result) args.push(result.bytes, result.text);
  return { storedKey, args, hasResult: line === 'together' || result !== undefined };
}

export function lineStep(verb: 'line' | 'strike', { storedKey, owner }: LineQuery): LineStep {
  return { storedKey, args: [verb, owner] };
}

/** One call for some steps. */
export function writeLineSteps(steps: readonly LineStep[]): ScriptCall {
  const results = steps.filter(({ hasResult }) => hasResult).map(({ storedKey }) => resultName(storedKey));
  return {
    keys: steps.flatMap(({ storedKey }) => [storedKey, lineName(storedKey)]).concat(results),
    args: [steps.length, ...steps.flatMap(({ args }) => args)],
  };
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
