/** What a board shows of the journals of its queues. */

import { describeDuplicate, duplicatesOf } from '../admin/describe-duplicate.ts';
import type { JournalRecord } from '../cache/contract.ts';
import { addCounts, MINUTE_MS, minuteOf } from '../cache/journal-rules.ts';
import { nameOfJob } from '../core/holder.ts';
import { OUTCOMES, type Outcome } from '../events/events.ts';
import type { JobUrl } from './job-url.ts';
import type { Source } from './source.ts';

const MINUTES = 60;
/** More are found by the id of their job. */
const MAX_SHOWN = 50;

/** The duplicates of all queues in a minute that began at `at`, in ms since the epoch. */
export type OutcomesOfMinute = { readonly at: number } & Record<Outcome, number>;

/** A duplicate, as the page shows it. */
export interface ShownDuplicate {
  readonly at: number;
  /** `job 17 of emails` */
  readonly name: string;
  /** Where it is shown. */
  readonly url?: string | undefined;
  /** The label of its queue. */
  readonly place: string;
  /** `skipped: 'welcome-42' was held by job 16 of emails` */
  readonly text: string;
  readonly outcome: Outcome;
}

interface Read {
  readonly source: Source;
  readonly journal: JournalRecord;
}

export class Journals {
  readonly #sources: readonly Source[];
  readonly #jobUrl: JobUrl;

  constructor(sources: Iterable<Source>, jobUrl: JobUrl) {
    this.#jobUrl = jobUrl;
    this.#sources = [...sources].filter(({ isQueue }) => isQueue);
  }

  /** A count for each minute of the last hour. */
  async outcomes(): Promise<OutcomesOfMinute[]> {
    const all = (await this.#read()).flatMap(({ journal }) => journal.counts);
    const counts = addCounts(all, Date.now());
    const current = minuteOf(Date.now());
    return Array.from({ length: MINUTES }, (_, i) => {
      const at = current - (MINUTES - 1 - i) * MINUTE_MS;
      const countOf = (outcome: Outcome) =>
        counts.find(one => one.minute === at && one.outcome === outcome)?.count ?? 0;
      return {
        at,
        ...Object.fromEntries(OUTCOMES.map(outcome => [outcome, countOf(outcome)])),
      } as OutcomesOfMinute;
    });
  }

  /**
   * The last duplicates, the last first.
   * @param jobId - only those that are jobs with this id.
   */
  async duplicates(jobId?: string): Promise<ShownDuplicate[]> {
    const found = (await this.#read()).flatMap(({ source: { label, queueName }, journal }) =>
      (jobId === undefined ? journal.duplicates : duplicatesOf(jobId, journal.duplicates)).map(duplicate => ({
        at: duplicate.at,
        name: nameOfJob(duplicate.jobId, queueName),
        url: this.#jobUrl({ jobId: duplicate.jobId, queueName }),
        place: label,
        text: describeDuplicate(duplicate),
        outcome: duplicate.outcome,
      })),
    );
    return found.sort((a, b) => b.at - a.at).slice(0, MAX_SHOWN);
  }

  #read(): Promise<readonly Read[]> {
    return Promise.all(this.#sources.map(async source => ({ source, journal: await source.journal() })));
  }
}
