/** Writes what becomes of duplicates to the journals of their queues: at most once a second for each cache, and never in the way of a job. */

import type { WorkerLike } from '../bullmq/job.ts';
import type { DuplicateRecord, JournalPage, LockCache, OutcomeCount } from '../cache/contract.ts';
import { minuteOf } from '../cache/journal-rules.ts';
import { describeThrown } from '../core/errors.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { setImmediate } from '../core/timers.ts';
import { warn } from '../core/warnings.ts';
import { within } from '../core/within.ts';

const WRITE_EVERY_MS = 1000;
/** A write that has no answer after so long is given up. */
const MAX_WRITE_MS = 10_000;
/** Of each queue the last duplicates of a second are written. All are counted. */
const MAX_DUPLICATES_A_WRITE = 100;

/** What is to be written to the journal of one queue. */
class Page {
  readonly #counts = new Map<string, OutcomeCount>();
  /** A job that has one outcome again and again counts as one duplicate. The last is the last. */
  readonly #duplicates = new Map<string, DuplicateRecord>();

  add(duplicate: DuplicateRecord): void {
    const { at, jobId, outcome } = duplicate;
    const minute = minuteOf(at);
    const counted = `${minute} ${outcome}`;
    const count = (this.#counts.get(counted)?.count ?? 0) + 1;
    this.#counts.set(counted, { minute, outcome, count });
    const name = `${outcome} ${jobId}`;
    this.#duplicates.delete(name);
    this.#duplicates.set(name, duplicate);
    if (this.#duplicates.size <= MAX_DUPLICATES_A_WRITE) return;
    for (const first of this.#duplicates.keys()) {
      this.#duplicates.delete(first);
      return;
    }
  }

  written(queue: string): JournalPage {
    return { queue, counts: [...this.#counts.values()], duplicates: [...this.#duplicates.values()] };
  }
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

  note(queue: string, duplicate: DuplicateRecord, worker: WorkerLike | undefined): void {
    getOrCreate(this.#pages, queue, () => new Page()).add(duplicate);
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
    const pages = [...this.#pages].map(([queue, page]) => page.written(queue));
    this.#pages = new Map();
    this.#wroteAt = performance.now();
    try {
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
 * Notes what became of a duplicate.
 * @param queue - the job's, with its prefix.
 * @param worker - the job's; absent in a sandbox.
 */
export function noteInJournal(
  cache: LockCache,
  queue: string,
  duplicate: DuplicateRecord,
  worker: WorkerLike | undefined,
): void {
  if (!cache.writeJournal) return;
  const writer = getOrCreate(
    writers,
    cache,
    () => new JournalWriter(pages => (cache as Required<LockCache>).writeJournal(pages)),
  );
  writer.note(queue, duplicate, worker);
}
