/**
 * Looks now and then at the lines in which this process has parked jobs. A holder that crashes promotes nobody, and a promotion may get
 * lost: then the key is free, and the one whose turn it is may sleep for long. One call for all lines, twice in a ttl.
 */

import { attemptOf } from '../bullmq/job.ts';
import type { LineRecord, LockCache } from '../cache/contract.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { timerDelay } from '../core/timers.ts';
import { within } from '../core/within.ts';
import type { GuardedJob } from './strategy.ts';
import { promote, promoteNext } from './whose-turn.ts';

const MIN_INTERVAL_MS = 250;

interface Watched {
  /** The last job that was parked in it here. */
  readonly work: GuardedJob;
  /** Whose turn it was at the last look, if the key was free. */
  head?: string | undefined;
}

class LineWatch {
  readonly #cache: LockCache;
  readonly #lines = new Map<string, Watched>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer is due, on the monotonic clock. */
  #lookAt = 0;

  constructor(cache: LockCache) {
    this.#cache = cache;
  }

  add(work: GuardedJob): void {
    const { storedKey, ttl } = work.request.terms;
    this.#lines.set(storedKey, { work, head: this.#lines.get(storedKey)?.head });
    this.#lookIn(ttl / 2);
  }

  #lookIn(ms: number): void {
    const at = performance.now() + Math.max(ms, MIN_INTERVAL_MS);
    if (this.#timer && this.#lookAt <= at) return;
    clearTimeout(this.#timer);
    this.#lookAt = at;
    this.#timer = setTimeout(this.#look, timerDelay(at - performance.now())).unref();
  }

  readonly #look = async (): Promise<void> => {
    for (const [storedKey, { work }] of this.#lines) {
      if (work.job.queue?.closing) this.#lines.delete(storedKey);
    }
    const storedKeys = [...this.#lines.keys()];
    const shortest = Math.min(...[...this.#lines.values()].map(({ work }) => work.request.terms.ttl));
    try {
      const asked = this.#cache.lines?.(storedKeys.map(storedKey => ({ storedKey, owner: '' })));
      const lines = asked && (await within(shortest, asked));
      for (const [i, storedKey] of storedKeys.entries()) this.#judge(storedKey, lines?.[i]);
    } catch {
      // The next look tells, or the job that comes back by itself.
    }
    this.#timer = undefined;
    if (this.#lines.size > 0) this.#lookIn(shortest / 2);
  };

  #judge(storedKey: string, line: LineRecord | Error | undefined): void {
    const watched = this.#lines.get(storedKey);
    if (!watched || !line || line instanceof Error) return;
    if (line.parked === 0) {
      this.#lines.delete(storedKey);
      promoteSharer(watched.work);
    }
    const isFree = line.held < watched.work.concurrency;
    // It was its turn at the last look too: it is not on its way.
    if (isFree && line.head !== undefined && line.head === watched.head) {
      void promoteNext(watched.work, line.head);
    }
    watched.head = isFree ? line.head : undefined;
  }
}

/**
 * All have left the line `'together'` when the work was done. Who should have promoted them may have died before: one that comes for the
 * result promotes the next.
 */
function promoteSharer(work: GuardedJob): void {
  const { line, owner } = work.request.terms;
  if (line?.kind === 'together') void promote(work, owner, { start: attemptOf(work.job) });
}

const watches = new WeakMap<LockCache, LineWatch>();

/** Watches the line in which a job was parked. */
export function watchLine(work: GuardedJob): void {
  const { cache } = work.request;
  getOrCreate(watches, cache, () => new LineWatch(cache)).add(work);
}
