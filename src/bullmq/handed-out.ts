/**
 * Knows in which order BullMQ has handed out the jobs of a queue: the list of active jobs tells. It is read with the commands that
 * BullMQ's own getters use.
 */

import { getOrCreate } from '../core/get-or-create.ts';
import { nextTick } from '../core/timers.ts';
import { askQueue, type RunningJob, type WorkerLike } from './job.ts';

/** As many active jobs are looked at. */
const MAX_ACTIVE = 1000;
/** For how long it is remembered which key a job of another process has, in ms. Another job may have its id then. */
const REMEMBER_MS = 5000;
const MAX_REMEMBERED = 5000;

/** Where a worker reads lists of its queue: `backend` in BullMQ 6, `scripts` in BullMQ 5. */
interface ListReader {
  getRanges?(types: string[], start: number, end: number, asc: boolean): Promise<string[][]>;
}
interface Reading extends WorkerLike {
  readonly backend?: ListReader;
  readonly scripts?: ListReader;
}

/** A job that was handed out, as far as its key is known. */
export interface HandedOut {
  /** The name of its key in the cache. */
  readonly storedKey: string | undefined;
  /**
   * Of a job of this process that gives way to those before it: resolves when its step on the key was sent. Of another process that is
   * not known.
   */
  readonly entered?: Promise<object>;
  /** The job, where it has no `entered`. */
  readonly job?: RunningJob | undefined;
}

/** A job of this process that was handed out. */
export interface HandedOutHere extends HandedOut {
  /** Its step on the key was sent. */
  onEntered(): void;
}

interface Remembered extends HandedOut {
  readonly forgetAt: number;
}

/** The jobs that one worker has, and those of other workers that it has met. */
class Jobs {
  readonly #worker: Reading;
  /** By id. */
  readonly #here = new Map<string, HandedOut>();
  readonly #elsewhere = new Map<string, Remembered>();
  #active: Promise<string[]> | undefined;

  constructor(worker: WorkerLike) {
    this.#worker = worker;
  }

  /** Notes that a job is being processed here, until it is forgotten. */
  note({ id }: RunningJob, storedKey: string): HandedOutHere {
    let onEntered!: () => void;
    const entered = new Promise<object>(resolve => {
      onEntered = () => resolve({});
    });
    const noted = { storedKey, entered, onEntered };
    this.#here.set(id as string, noted);
    return noted;
  }

  /** Notes that a job is being processed here again. It may be in the line already, and give way to nobody. */
  noteBack(job: RunningJob, storedKey: string): void {
    this.#here.set(job.id as string, { storedKey, job });
  }

  forget({ id }: RunningJob): void {
    this.#here.delete(id as string);
  }

  /**
   * The jobs that were handed out before a job, have its key, and are still active, the last first. The list ends with the first of
   * them that is known to give way to those before it.
   * @param storedKeyOf - names the key of another job.
   */
  async before(
    job: RunningJob,
    storedKey: string,
    storedKeyOf: (job: RunningJob) => string | undefined,
  ): Promise<HandedOut[]> {
    const active = await this.#readActive();
    const own = active.indexOf(job.id as string);
    const older = own < 0 ? [] : active.slice(own + 1);
    const here = older.findIndex(id => {
      const noted = this.#here.get(id);
      return noted?.entered && noted.storedKey === storedKey;
    });
    const near = here < 0 ? older : older.slice(0, here + 1);
    const found = await Promise.all(near.map(id => this.#here.get(id) ?? this.#lookUp(job, id, storedKeyOf)));
    return found.filter(one => one.storedKey === storedKey);
  }

  /** The ids of the active jobs, the last first. Those who ask in one turn of the event loop share an answer. */
  #readActive(): Promise<string[]> {
    if (this.#active) return this.#active;
    const { backend, scripts } = this.#worker;
    const reader = backend?.getRanges ? backend : scripts;
    const asked = reader?.getRanges?.(['active'], 0, MAX_ACTIVE - 1, false) ?? Promise.resolve([]);
    this.#active = asked.then(([ids = []]) => ids.map(String));
    nextTick(() => {
      this.#active = undefined;
    });
    return this.#active;
  }

  async #lookUp(
    asking: RunningJob,
    id: string,
    storedKeyOf: (job: RunningJob) => string | undefined,
  ): Promise<HandedOut> {
    const now = performance.now();
    const known = this.#elsewhere.get(id);
    if (known && known.forgetAt > now) return known;
    const job = await askQueue(asking, id);
    const storedKey = job && storedKeyOf(job);
    const found = { storedKey, job, forgetAt: now + REMEMBER_MS };
    if (this.#elsewhere.size >= MAX_REMEMBERED) this.#elsewhere.clear();
    this.#elsewhere.set(id, found);
    return found;
  }
}

const ofWorkers = new WeakMap<WorkerLike, Jobs>();

/** The jobs of a job's worker; `undefined` in a sandbox. */
export function jobsOf({ queue, id }: RunningJob): Jobs | undefined {
  return queue && id !== undefined ? getOrCreate(ofWorkers, queue, () => new Jobs(queue)) : undefined;
}
export type { Jobs };
