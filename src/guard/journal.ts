/** Writes what becomes of duplicates to the journals of their queues: at most once a second for each cache, and never in the way of a job. */

import type { WorkerLike } from '../bullmq/job.ts';
import type { DuplicateRecord, JournalPage, LockCache } from '../cache/contract.ts';
import { minuteOf } from '../cache/journal-rules.ts';
import { describeThrown } from '../core/errors.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import type { Holder } from '../core/holder.ts';
import { setImmediate } from '../core/timers.ts';
import { warn } from '../core/warnings.ts';
import { within } from '../core/within.ts';
import type { Outcome } from '../events/events.ts';
import { parseName } from '../key/stored-name.ts';
import type { LeaseTerms } from '../lock/lease-terms.ts';

const WRITE_EVERY_MS = 1000;
/** A write that has no answer after so long is given up. */
const MAX_WRITE_MS = 10_000;
/** Of each queue the last duplicates of a second are written. All are counted. */
const MAX_DUPLICATES_A_WRITE = 100;
/** Older ones are dropped when there are so many. */
const MAX_NOTED = 250;

/** What became of a duplicate. It holds no job: what is kept for a second is copied by each collection of garbage. */
export interface Noted extends Pick<LeaseTerms, 'key' | 'storedKey' | 'jobId'> {
  readonly at: number;
  readonly outcome: Outcome;
  readonly observed: boolean;
  readonly holder: Holder | undefined;
}

/** What is to be written to the journal of one queue. A duplicate costs little here: most are never written. */
class Page {
  readonly #counts: { readonly minute: number; readonly outcome: Outcome; count: number }[] = [];
  #noted: Noted[] = [];

  add(noted: Noted): void {
    const minute = minuteOf(noted.at);
    let counted = this.#counts.find(one => one.minute === minute && one.outcome === noted.outcome);
    if (!counted) {
      counted = { minute, outcome: noted.outcome, count: 0 };
      this.#counts.push(counted);
    }
    counted.count++;
    this.#noted.push(noted);
    if (this.#noted.length >= MAX_NOTED) this.#noted = lastOf(this.#noted);
  }

  written(queue: string): JournalPage {
    return { queue, counts: this.#counts, duplicates: lastOf(this.#noted).map(recordOf) };
  }
}

/** The last duplicates, as many as are written. A job that has one outcome again and again counts as one. The last is the last. */
function lastOf(all: readonly Noted[]): Noted[] {
  const last = new Map<string, Noted>();
  for (let i = all.length - 1; i >= 0 && last.size < MAX_DUPLICATES_A_WRITE; i--) {
    const noted = all[i] as Noted;
    const name = `${noted.outcome} ${noted.jobId}`;
    if (!last.has(name)) last.set(name, noted);
  }
  return [...last.values()].reverse();
}

function recordOf({ at, jobId, key, storedKey, outcome, observed, holder }: Noted): DuplicateRecord {
  return {
    at,
    jobId: `${jobId}`,
    // A long key is named by its short form.
    key: parseName(storedKey)?.key ?? key,
    outcome,
    observed,
    holder: holder && {
      state: holder.state,
      owner: holder.owner,
      ...(holder.jobId !== undefined && { jobId: holder.jobId, queueName: `${holder.queueName}` }),
    },
  };
}

class JournalWriter {
  readonly #write: (pages: readonly JournalPage[]) => Promise<void>;
  #pages = new Map<string, Page>();
  /** Of the duplicate that was noted last. */
  #worker: WorkerLike | undefined;
  #isScheduled = false;
  /** The worker whose end is waited for. */
  #awaited: WorkerLike | undefined;
  #timer: NodeJS.Timeout | undefined;
  #wroteAt = Number.NEGATIVE_INFINITY;

  constructor(write: (pages: readonly JournalPage[]) => Promise<void>) {
    this.#write = write;
  }

  note(queue: string, noted: Noted, worker: WorkerLike | undefined): void {
    getOrCreate(this.#pages, queue, () => new Page()).add(noted);
    this.#worker = worker;
    if (!this.#isScheduled) this.#schedule();
  }

  #schedule(): void {
    this.#isScheduled = true;
    const wait = this.#worker?.closing ? 0 : this.#wroteAt + WRITE_EVERY_MS - performance.now();
    // The first is written also by a process that exits soon.
    if (wait <= 0) {
      setImmediate(this.#send);
      return;
    }
    this.#timer = setTimeout(this.#send, wait).unref();
    // The connection may be closed when the second is over.
    this.#awaited = this.#worker;
    this.#awaited?.once?.('closing', this.#send);
  }

  readonly #send = async (): Promise<void> => {
    clearTimeout(this.#timer);
    this.#awaited?.off?.('closing', this.#send);
    const noted = [...this.#pages];
    this.#pages = new Map();
    this.#wroteAt = performance.now();
    try {
      const pages = noted.map(([queue, page]) => page.written(queue));
      if (pages.length > 0) await within(MAX_WRITE_MS, this.#write(pages).then(Object));
    } catch (error) {
      if (!this.#worker?.closing) {
        warn('ONCE_JOURNAL', `the journal of duplicates could not be written: ${describeThrown(error)}`);
      }
    }
    this.#isScheduled = false;
    if (this.#pages.size > 0) this.#schedule();
  };
}

const writers = new WeakMap<LockCache, JournalWriter>();

/**
 * Notes what became of a duplicate that is a job.
 * @param queue - the job's, with its prefix.
 * @param worker - the job's; absent in a sandbox.
 */
export function noteInJournal(
  cache: LockCache,
  queue: string,
  noted: Noted,
  worker: WorkerLike | undefined,
): void {
  if (!cache.writeJournal || noted.jobId === undefined) return;
  const writer = getOrCreate(
    writers,
    cache,
    () => new JournalWriter(pages => (cache as Required<LockCache>).writeJournal(pages)),
  );
  writer.note(queue, noted, worker);
}
