/** Reads the journal of a queue for a board. What was read is shown for a moment, and a queue that does not answer holds up nothing. */

import type { LockAdmin } from '../admin/lock-admin.ts';
import type { JournalRecord } from '../cache/contract.ts';
import { within } from '../core/within.ts';
import { MAX_UNSAID_AGE_MS, TIME_LIMIT_MS } from './source-look.ts';

/** What was read is shown for so long before it is read again. */
const SHOWN_FOR_MS = 2000;

const NO_JOURNAL: JournalRecord = { counts: [], duplicates: [] };

export class SourceJournal {
  readonly #admin: LockAdmin;
  #last: JournalRecord = NO_JOURNAL;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: { readonly startedAt: number; readonly read: Promise<JournalRecord> } | undefined;

  constructor(admin: LockAdmin) {
    this.#admin = admin;
  }

  /** Never rejects. A server that does not answer is waited for once. */
  async read(): Promise<JournalRecord> {
    const now = performance.now();
    const age = now - this.#readAt;
    if (age < SHOWN_FOR_MS) return this.#last;
    this.#reading ??= { startedAt: now, read: this.#read() };
    const { startedAt, read } = this.#reading;
    const limit = age < MAX_UNSAID_AGE_MS ? 0 : startedAt + TIME_LIMIT_MS - now;
    return (await within(limit, read)) ?? this.#last;
  }

  async #read(): Promise<JournalRecord> {
    try {
      this.#last = await this.#admin.journal();
      this.#readAt = performance.now();
    } catch {
      this.#last = NO_JOURNAL;
    }
    this.#reading = undefined;
    return this.#last;
  }
}
