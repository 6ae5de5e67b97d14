/**
 * What happened while things were broken: each process appends what it sees to a file of its own, with the time of the
 * machine's monotonic clock, which all processes share. A process that is killed spoils no more than its last line.
 */

import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LineKind, Standing } from '../../src/cache/contract.ts';

/** What can be recorded. Owners are jobs: the same string in all events of a job. */
export type Fact =
  /** BullMQ hands out a job that has this key. */
  | {
      readonly event: 'received';
      readonly owner: string;
      readonly attempt: number;
      readonly storedKey: string;
    }
  /** An acquisition, a renewal or a release is about to be sent to the cache. */
  | {
      readonly event: 'acquire';
      readonly storedKey: string;
      readonly token: string;
      readonly owner: string;
      readonly attempt: number;
      readonly ttl: number;
      /** How many may hold the key at once; 1 where it is missing. */
      readonly places?: number;
      /** The kind of line in which it is parked if the key is held. */
      readonly line?: LineKind;
    }
  | { readonly event: 'renew'; readonly token: string; readonly ttl: number }
  | {
      readonly event: 'release';
      readonly token: string;
      readonly dedupeFor: number;
      /** For how long the key is reserved for the next run of its owner instead, in ms. */
      readonly reservedFor?: number;
    }
  /** An owner is about to be struck out of the line of a key. */
  | { readonly event: 'strike'; readonly storedKey: string; readonly owner: string }
  /** The cache's answers. `ok` is missing where it has none. */
  | { readonly event: 'acquired'; readonly token: string; readonly fence: number }
  | {
      readonly event: 'refused';
      readonly token: string;
      /** Missing where nobody is in its way. */
      readonly holder?: FoundHolder;
      /** How it stands in the line of the key, if it is or was in it. */
      readonly standing?: Standing['is'] | 'not-in-line';
    }
  | { readonly event: 'undecided'; readonly token: string; readonly problem: string }
  | { readonly event: 'renewed'; readonly token: string; readonly ok?: boolean }
  | { readonly event: 'released'; readonly token: string; readonly ok?: boolean }
  /** Work under a lock has started. `run` is a number that its process gives to each run. */
  | { readonly event: 'started'; readonly run: number; readonly owner: string; readonly fence: number }
  /** At this time or later the work saw whether its lock was held, and whether its signal had aborted. */
  | {
      readonly event: 'step';
      readonly run: number;
      readonly held: boolean;
      readonly aborted: boolean;
    }
  | { readonly event: 'aborted'; readonly run: number; readonly reason: string }
  | {
      readonly event: 'ended';
      readonly run: number;
      readonly outcome: RunOutcome;
      /** What the work returned. No other run returns the same. */
      readonly result?: string;
    }
  /** What the processor returned to BullMQ for a job, and what BullMQ says of the job. */
  | {
      readonly event: 'processed';
      readonly owner: string;
      readonly attempt: number;
      readonly outcome: JobOutcome;
      readonly code?: string;
      readonly result?: string;
    }
  | { readonly event: 'completed'; readonly owner: string }
  | {
      readonly event: 'final-state';
      readonly owner: string;
      readonly state: string;
      readonly result?: string;
    }
  /** An error that nobody caught. */
  | { readonly event: 'unhandled'; readonly problem: string }
  /** What was done to the process `of`, and to the datastore. */
  | { readonly event: 'killed'; readonly of: number }
  /** A job is about to be removed by hand. */
  | { readonly event: 'removed'; readonly owner: string }
  /** The wall clock of the datastore is about to be set back: its fences may be lower, and what it stores may last longer. */
  | { readonly event: 'clock-set-back' }
  /** Between these two the datastore may not answer. */
  | { readonly event: 'outage-begins' }
  | { readonly event: 'outage-ends' }
  /** At some time since `from` the datastore may have lost what it had stored. */
  | { readonly event: 'data-lost'; readonly from: number }
  /** The locks that are held when all is over. */
  | { readonly event: 'left-behind'; readonly storedKeys: readonly string[] };

export type RunOutcome = 'finished' | 'gave up' | 'failed';
/**
 * `'finished'`: it ran, and returned. `'shared'`: it returned a result without a run of its own; `'skipped'`: none. `'parked'`: it was
 * moved to the delayed set.
 */
export type JobOutcome = 'finished' | 'shared' | 'skipped' | 'parked' | 'failed';

/** Who holds a key, as a refused acquisition learns it. */
export interface FoundHolder {
  readonly owner: string;
  readonly attempt: number;
  readonly fence: number;
  readonly state: string;
}

/** A fact, with the time (ms on the machine's monotonic clock) and the process that recorded it. */
export type Entry = Fact & { readonly at: number; readonly pid: number };

/** The machine's monotonic clock, in ms. It is the same in all processes, and a `Date` that jumps does not change it. */
const { bigint } = process.hrtime;
export function now(): number {
  return Number(bigint()) / 1e6;
}

export class Recorder {
  readonly #file: number;

  /** @param folder - the folder of the history. It is created where it is missing. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#file = openSync(join(folder, `${process.pid}.jsonl`), 'a');
  }

  /** Writes before it returns, so that nothing is lost with the process. */
  record(fact: Fact, at: number = now()): void {
    writeSync(this.#file, `${JSON.stringify({ at, pid: process.pid, ...fact })}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** All entries of a folder, in the order of time. */
export function readHistory(folder: string): Entry[] {
  const entries = readdirSync(folder)
    .filter(name => name.endsWith('.jsonl'))
    .flatMap(name => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
    .map(line => JSON.parse(line) as Entry);
  return entries.sort((a, b) => a.at - b.at);
}
