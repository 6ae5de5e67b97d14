/**
 * What happened while things were broken: each process appends what it sees to a file of its own, with the time of the
 * machine's monotonic clock, which all of its processes share. A process that is killed spoils no more than its last line.
 */

import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** What can be written down. Owners are jobs: the same text in all events of a job. */
export type Fact =
  /** BullMQ hands a job out, whose key is this. */
  | { readonly event: 'came'; readonly owner: string; readonly attempt: number; readonly key: string }
  /** A claim, renewal or release is about to be sent, as the cache is asked for it. */
  | {
      readonly event: 'claim';
      readonly key: string;
      readonly token: string;
      readonly owner: string;
      readonly attempt: number;
      readonly ttl: number;
    }
  | { readonly event: 'renew'; readonly token: string; readonly ttl: number }
  | { readonly event: 'release'; readonly token: string; readonly keepFor: number }
  /** The cache's answers. `ok` is missing where it has none. */
  | { readonly event: 'claimed'; readonly token: string; readonly fence: number }
  | {
      readonly event: 'refused';
      readonly token: string;
      readonly holder: Found;
    }
  | { readonly event: 'undecided'; readonly token: string; readonly problem: string }
  | { readonly event: 'renewed'; readonly token: string; readonly ok?: boolean }
  | { readonly event: 'released'; readonly token: string; readonly ok?: boolean }
  /** The work under a lock, which is told of each run by a number of its process. */
  | { readonly event: 'run'; readonly run: number; readonly owner: string; readonly fence: number }
  /** At this time or later the work saw that its lock was held, or that its signal had not aborted. */
  | {
      readonly event: 'step';
      readonly run: number;
      readonly held: boolean;
      readonly aborted: boolean;
    }
  | { readonly event: 'abort'; readonly run: number; readonly why: string }
  | { readonly event: 'ran'; readonly run: number; readonly outcome: 'finished' | 'gave up' | 'failed' }
  /** What BullMQ was given for a job, and what it says of it. */
  | {
      readonly event: 'processed';
      readonly owner: string;
      readonly attempt: number;
      readonly outcome: 'finished' | 'skipped' | 'failed';
      readonly code?: string;
    }
  | { readonly event: 'completed'; readonly owner: string }
  | { readonly event: 'final'; readonly owner: string; readonly state: string }
  /** Nobody caught it. */
  | { readonly event: 'unhandled'; readonly problem: string }
  /** What was done to the process `of`, and to the datastore. */
  | { readonly event: 'killed'; readonly of: number }
  | { readonly event: 'fault'; readonly name: string }
  /** From here to the next `answers` the datastore may not answer. */
  | { readonly event: 'silent' }
  | { readonly event: 'answers' }
  /** At some time since `from` the datastore may have lost what it had stored. */
  | { readonly event: 'forgot'; readonly from: number }
  /** The locks that are there when all is over. */
  | { readonly event: 'left'; readonly keys: readonly string[] };

/** Who holds a key, as a claim that was refused is told. */
export interface Found {
  readonly owner: string;
  readonly attempt: number;
  readonly fence: number;
  readonly state: string;
}

/** A fact, when it was written down (ms on the machine's monotonic clock) and by which process. */
export type Entry = Fact & { readonly at: number; readonly pid: number };

/** The machine's monotonic clock, in ms. The same in all processes, and out of reach of a `Date` that jumps. */
const { bigint } = process.hrtime;
export function now(): number {
  return Number(bigint()) / 1e6;
}

export class Recorder {
  readonly #file: number;

  /** @param folder - the history's; it is made where it is missing. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#file = openSync(join(folder, `${process.pid}.jsonl`), 'a');
  }

  /** Writes before it returns, so that nothing is lost with the process. */
  write(fact: Fact, at: number = now()): void {
    writeSync(this.#file, `${JSON.stringify({ at, pid: process.pid, ...fact })}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** All that was written into a folder, in the order of time. */
export function readHistory(folder: string): Entry[] {
  const entries = readdirSync(folder)
    .filter(name => name.endsWith('.jsonl'))
    .flatMap(name => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
    .map(line => JSON.parse(line) as Entry);
  return entries.sort((a, b) => a.at - b.at);
}
