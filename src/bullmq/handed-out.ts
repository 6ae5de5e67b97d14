/**
 * Knows in which order BullMQ has handed out the jobs of a queue: the list of active jobs tells.
 */

import { getOrCreate } from '../core/get-or-create.ts';
import { nextTick } from '../core/timers.ts';
import { askQueue, isNumbered, type RunningJob, type WorkerLike } from './job.ts';
import { readerOf } from './list-reader.ts';

/** As many active jobs are looked at. */
const MAX_ACTIVE = 1000;
/** For how long it is remembered which key a job of another process has, in ms. Another job may have its id then. */
const REMEMBER_MS = 5000;
const MAX_REMEMBERED = 5000;
/** For how long it is remembered which key a job of this process had, in ms. By then BullMQ has its completion. */
const REMEMBER_DONE_MS = 1000;

/** A job that was handed out, as far as its key is known. */
export interface HandedOut {
  /** The name of its key in the cache. */
  readonly storedKey: string | undefined;
  /**
   * Of a job of this process that gives way to those before it: resolves when its step on the key was sent. Of another process that is
   * not known.
   */
  readonly entered?: (() => Promise<object>) | undefined;
  /**
   * Of a job with `entered`: whether it was handed out after an active job. If not, it stands before that one in the list because of a run
   * elsewhere that has begun since.
   */
  cameAfter?(id: string | undefined): boolean;
  /** The job, where it has no `entered`. */
  readonly job?: RunningJob | undefined;
}

/** A job of this process that was handed out for the first time. */
export class HandedOutHere implements HandedOut {
  readonly storedKey: string;
  #hasEntered = false;
  /** The active jobs when it was handed out, and its own position among them. */
  #active: readonly string[] | undefined;
  #position = 0;
  /** Made when another job waits for it. */
  #promise: Promise<object> | undefined;
  #resolve: ((entered: object) => void) | undefined;

  constructor(storedKey: string) {
    this.storedKey = storedKey;
  }

  readonly entered = (): Promise<object> => {
    this.#promise ??= new Promise(resolve => {
      this.#resolve = resolve;
      if (this.#hasEntered) resolve({});
    });
    return this.#promise;
  };

  /** Called with the list of active jobs: those behind its position were handed out before it. */
  stoodIn(active: readonly string[], position: number): void {
    if (this.#active) return;
    this.#active = active;
    this.#position = position;
  }

  /** @param id - of the job behind it in the list now, if there is one. */
  cameAfter(id: string | undefined): boolean {
    return id === undefined || !this.#active || this.#active.indexOf(id, this.#position) >= 0;
  }

  /** Its step on the key was sent. */
  onEntered(): void {
    this.#hasEntered = true;
    this.#resolve?.({});
  }
}

interface Remembered {
  readonly known: HandedOut;
  /** In ms, as `performance.now()` counts. */
  readonly until: number;
}

/** The jobs that one worker has, those that it had a moment ago, and those of other workers that it has met. */
class Jobs {
  readonly #worker: WorkerLike;
  /** By id. */
  readonly #here = new Map<string, HandedOut>();
  readonly #ofLate = new Map<string, Remembered>();
  #active: Promise<string[]> | undefined;

  constructor(worker: WorkerLike) {
    this.#worker = worker;
  }

  /** Notes that a job is being processed here, until it is forgotten. */
  note({ id }: RunningJob, storedKey: string): HandedOutHere {
    const noted = new HandedOutHere(storedKey);
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

  /** It has run here. Until BullMQ has its completion it is active. */
  noteDone(job: RunningJob): void {
    const id = job.id as string;
    const known = this.#here.get(id);
    if (!known || !isNumbered(id)) return;
    // One that was back says nothing of those before it.
    this.#remember(id, known.entered ? known : { storedKey: undefined }, REMEMBER_DONE_MS);
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
    if (own < 0) return [];
    const here = this.#here.get(job.id as string);
    if (here instanceof HandedOutHere) here.stoodIn(active, own);
    const older: (HandedOut | Promise<HandedOut>)[] = [];
    for (let i = own + 1; i < active.length; i++) {
      const id = active[i] as string;
      const known = this.#here.get(id) ?? this.#remembered(id);
      // Most are known, and have other keys.
      if (known && known.storedKey !== storedKey) continue;
      // One that moved itself may have been handed out anew, elsewhere, before its run has ended here.
      const isKnown = known && known.cameAfter?.(active[i + 1]) !== false;
      older.push(isKnown ? known : this.#lookUp(job, id, storedKeyOf));
      if (isKnown && known.entered) break;
    }
    if (older.length === 0) return [];
    return (await Promise.all(older)).filter(one => one.storedKey === storedKey);
  }

  #remembered(id: string): HandedOut | undefined {
    const remembered = this.#ofLate.get(id);
    return remembered && remembered.until > performance.now() ? remembered.known : undefined;
  }

  /** The ids of the active jobs, the last first. Those who ask in one turn of the event loop share an answer. */
  #readActive(): Promise<string[]> {
    if (this.#active) return this.#active;
    const asked =
      readerOf(this.#worker)?.getRanges?.(['active'], 0, MAX_ACTIVE - 1, false) ?? Promise.resolve([]);
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
    const job = await askQueue(asking, id);
    const found = { storedKey: job && storedKeyOf(job), job };
    this.#remember(id, found, REMEMBER_MS);
    return found;
  }

  #remember(id: string, known: HandedOut, ms: number): void {
    if (this.#ofLate.size >= MAX_REMEMBERED) this.#ofLate.clear();
    this.#ofLate.set(id, { known, until: performance.now() + ms });
  }
}

const ofWorkers = new WeakMap<WorkerLike, Jobs>();

/** The jobs of a job's worker; `undefined` in a sandbox. */
export function jobsOf({ queue, id }: RunningJob): Jobs | undefined {
  return queue && id !== undefined ? getOrCreate(ofWorkers, queue, () => new Jobs(queue)) : undefined;
}
export type { Jobs };
