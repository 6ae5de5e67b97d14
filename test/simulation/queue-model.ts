/**
 * A model of what BullMQ keeps of one queue on its server, and of its scripts: each method is one atomic step, as BullMQ's Lua is.
 * `queue-model.test.ts` holds it against the real one.
 */

import { checkMayComplete, Flows, hasToWait, idsOfChildren, NO_CHILDREN } from './flow-model.ts';
import { Markers } from './markers.ts';
import type { Fetched, JobOptions, Limiter, StoredJob } from './stored-job.ts';

/** The order of `score` is the order of handing out. */
interface Scored {
  readonly id: string;
  readonly score: number;
}

/** Is told of what becomes of jobs. */
export interface QueueObserver {
  onHandedOut(job: StoredJob): void;
  onFinished(job: StoredJob, how: 'completed' | 'failed'): void;
  onRemoved(job: StoredJob): void;
  onStalled(job: StoredJob): void;
  onPromoted(job: StoredJob): void;
}

const NOBODY: QueueObserver = {
  onHandedOut() {},
  onFinished() {},
  onRemoved() {},
  onStalled() {},
  onPromoted() {},
};

export class QueueModel {
  readonly name: string;
  readonly #now: () => number;
  readonly #observer: QueueObserver;
  readonly #flows: Flows;
  #jobs = new Map<string, StoredJob>();
  /** The first is handed out next. */
  #waiting: string[] = [];
  /** The last that was handed out comes first. */
  #active: string[] = [];
  #delayed: Scored[] = [];
  #prioritized: Scored[] = [];
  #stalled = new Set<string>();
  #stalledCheckUntil = 0;
  #lastId = 0;
  #priorities = 0;
  #isPaused = false;
  /** How many were handed out since the limiter began to count. */
  #limited = { count: 0, until: 0 };
  readonly #markers = new Markers();

  /** @param now - the server's clock, in ms since the epoch. */
  constructor(name: string, now: () => number, observer: QueueObserver = NOBODY) {
    this.name = name;
    this.#now = now;
    this.#observer = observer;
    this.#flows = new Flows({
      find: id => (id === undefined ? undefined : this.#jobs.get(id)),
      release: (parent, timestamp) => {
        if (parent.delay > 0) this.#delay(parent, timestamp, parent.delay);
        else this.#enqueue(parent, { first: true });
      },
      releaseToFront: parent => this.#pushToWait(parent, { first: true }),
      leaveDelayed: job => {
        this.#delayed = this.#delayed.filter(({ id }) => id !== job.id);
      },
      delete: job => this.#delete(job),
    });
  }

  /**
   * @param waitsForChildren - it is the parent of a flow.
   * @throws Error there is no such parent.
   */
  add(
    data: unknown,
    opts: JobOptions,
    timestamp: number,
    { waitsForChildren = false }: { readonly waitsForChildren?: boolean } = {},
  ): string {
    // Without it the counter is not touched.
    if (opts.parent !== undefined && !this.#jobs.has(opts.parent))
      throw new Error(`Missing key for parent job ${opts.parent}. addJob`);
    const number = ++this.#lastId;
    const id = opts.jobId ?? String(number);
    if (this.#jobs.has(id)) return id;
    const job: StoredJob = {
      id,
      data,
      timestamp: opts.timestamp ?? timestamp,
      opts,
      state: 'waiting',
      delay: opts.delay ?? 0,
      attemptsMade: 0,
      attemptsStarted: 0,
      stalledCounter: 0,
      stacktrace: [],
      processedOn: undefined,
      finishedOn: undefined,
      failedReason: undefined,
      deferredFailure: undefined,
      returnvalue: undefined,
      children: NO_CHILDREN,
      lock: undefined,
    };
    this.#jobs.set(id, job);
    if (opts.parent !== undefined) this.#flows.adopt(id, opts.parent);
    if (waitsForChildren) job.state = 'waiting-children';
    else if (job.delay > 0) this.#delay(job, job.timestamp, job.delay);
    else this.#enqueue(job, { first: opts.lifo === true });
    return id;
  }

  /** Hands out the next job. */
  moveToActive(token: string, timestamp: number, lockDuration: number, limiter?: Limiter): Fetched {
    this.#promoteDelayed(timestamp);
    const limitedFor = limiter ? this.#limitedFor(limiter) : 0;
    if (limitedFor > 0) return { limitedFor };
    if (this.#isPaused) return {};
    const id = this.#waiting.shift() ?? this.#prioritized.shift()?.id;
    if (id === undefined) return { delayUntil: this.#nextDelayed() };
    const job = this.#jobs.get(id) as StoredJob;
    this.#active.unshift(id);
    if (limiter && job.deferredFailure === undefined) this.#count(limiter);
    job.state = 'active';
    job.lock = { token, expiresAt: this.#now() + lockDuration };
    job.processedOn = timestamp;
    job.attemptsStarted++;
    this.#markers.add('0', 0);
    this.#observer.onHandedOut(job);
    return { job: { ...job } };
  }

  /** @throws Error it is not the token's to finish. */
  finish(
    id: string,
    token: string,
    how: 'completed' | 'failed',
    value: unknown,
    timestamp: number,
    stacktrace?: readonly string[],
  ): void {
    const found = this.#jobs.get(id);
    if (found && how === 'completed') checkMayComplete(found);
    const job = this.#unlock(id, token);
    this.#leaveActive(job);
    if (how === 'completed') this.#flows.onCompleted(job, timestamp);
    else this.#flows.onFailed(job, timestamp);
    if (stacktrace) job.stacktrace = stacktrace;
    job.attemptsMade++;
    job.state = how;
    job.finishedOn = timestamp;
    if (how === 'completed') job.returnvalue = value;
    else {
      job.failedReason = value as string;
      job.deferredFailure = undefined;
    }
    this.#observer.onFinished(job, how);
  }

  /** A failed job is to run again at once. */
  retry(id: string, token: string, timestamp: number, reason: string, stacktrace: readonly string[]): void {
    this.#promoteDelayed(timestamp);
    const job = this.#unlock(id, token);
    Object.assign(job, { failedReason: reason, stacktrace });
    this.#leaveActive(job);
    this.#enqueue(job, { first: job.opts.lifo === true });
    job.attemptsMade++;
  }

  /** @param failure - it has failed, and is to run again later. Without it the job has moved itself, which costs no attempt. */
  moveToDelayed(
    id: string,
    token: string,
    timestamp: number,
    delay: number,
    failure?: { readonly reason: string; readonly stacktrace: readonly string[] },
  ): void {
    const job = this.#unlock(id, token);
    if (failure) Object.assign(job, { failedReason: failure.reason, stacktrace: failure.stacktrace });
    this.#leaveActive(job);
    if (failure) job.attemptsMade++;
    job.delay = delay;
    this.#delay(job, timestamp, delay);
  }

  /**
   * An active job waits for its children.
   * @returns `false`: it has none to wait for, and goes on.
   * @throws Error a child has failed it.
   */
  moveToWaitingChildren(id: string, token: string): boolean {
    const found = this.#jobs.get(id);
    if (!found) throw new Error(`Missing key for job ${id}. moveToWaitingChildren`);
    if (!hasToWait(found)) return false;
    this.#leaveActive(this.#unlock(id, token));
    found.state = 'waiting-children';
    return true;
  }

  /** An active job goes back to where it was handed out from, before all others. */
  moveToWait(id: string, token: string): void {
    const job = this.#unlock(id, token);
    this.#leaveActive(job);
    const priority = job.opts.priority ?? 0;
    if (priority > 0) {
      job.state = 'prioritized';
      insert(this.#prioritized, { id, score: priority * 2 ** 32 });
      return;
    }
    this.#enqueue(job, { first: true });
  }

  extendLock(id: string, token: string, duration: number): boolean {
    const job = this.#jobs.get(id);
    if (!job || this.#lockOf(job)?.token !== token) return false;
    job.lock = { token, expiresAt: this.#now() + duration };
    this.#stalled.delete(id);
    return true;
  }

  /** Active jobs whose lock has expired since the last check run again. */
  moveStalledToWait(maxStalledCount: number, interval: number): void {
    if (this.#now() < this.#stalledCheckUntil) return;
    this.#stalledCheckUntil = this.#now() + interval;
    for (const id of inOrderOfRedis(this.#stalled)) {
      const job = this.#jobs.get(id);
      if (!job || this.#lockOf(job) || !this.#active.includes(id)) continue;
      this.#active.splice(this.#active.indexOf(id), 1);
      job.stalledCounter++;
      if (job.stalledCounter > maxStalledCount) {
        job.deferredFailure = 'job stalled more than allowable limit';
      }
      // Whatever its priority.
      job.state = 'waiting';
      this.#waiting.unshift(id);
      if (!this.#isPaused) this.#markers.add('0', 0);
      this.#observer.onStalled(job);
    }
    this.#stalled = new Set(this.#active);
  }

  /** @throws Error the job is not delayed. */
  promote(id: string): void {
    const i = this.#delayed.findIndex(one => one.id === id);
    if (i < 0) throw new Error(`Job ${id} is not in the delayed state. promote`);
    this.#delayed.splice(i, 1);
    const job = this.#jobs.get(id) as StoredJob;
    job.delay = 0;
    this.#enqueue(job, { first: false });
    this.#observer.onPromoted(job);
  }

  /** Removes a job and its children. @returns whether it was removed, or was not there. It is not while one of them is locked. */
  remove(id: string): boolean {
    const job = this.#jobs.get(id);
    if (!job) return true;
    if (this.#isLocked(job)) return false;
    const all = [job, ...this.#flows.descendantsOf(job)];
    for (const one of all) this.#flows.onRemoved(one, { takesParent: false });
    for (const one of all) this.#delete(one);
    return true;
  }

  /** Of its children those count that are pending. */
  #isLocked(job: StoredJob): boolean {
    if (this.#lockOf(job)) return true;
    return idsOfChildren(job, 'pending').some(id => {
      const child = this.#jobs.get(id);
      return child !== undefined && this.#isLocked(child);
    });
  }

  /** Removes all jobs that are waiting, or also delayed. */
  drain({ delayed }: { readonly delayed: boolean }): void {
    const ids = [...this.#waiting, ...this.#prioritized.map(one => one.id)];
    if (delayed) ids.push(...this.#delayed.map(one => one.id));
    for (const id of ids) {
      const job = this.#jobs.get(id) as StoredJob;
      this.#flows.onRemoved(job, { takesParent: true });
      this.#delete(job);
    }
  }

  pause(): void {
    this.#isPaused = true;
    this.#markers.clear();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#waiting.length + this.#prioritized.length > 0) this.#markers.add('0', 0);
    else this.#markDelayed();
  }

  /** A finished job is to run again. @throws Error it has not failed. */
  retryFailed(id: string, { resetAttempts }: { readonly resetAttempts: boolean }): void {
    const job = this.#jobs.get(id);
    if (job?.state !== 'failed') throw new Error(`Job ${id} is not in the failed state. reprocessJob`);
    Object.assign(job, { finishedOn: undefined, processedOn: undefined, failedReason: undefined });
    if (resetAttempts) Object.assign(job, { attemptsMade: 0, attemptsStarted: 0 });
    this.#enqueue(job, { first: job.opts.lifo === true });
    this.#flows.onRetried(job);
  }

  /** Nothing is handed out to limited workers for a while. */
  rateLimit(ms: number): void {
    this.#limited = { count: Number.POSITIVE_INFINITY, until: this.#now() + ms };
  }

  /** For how long the rate limit lasts, in ms. */
  get limitLasts(): number {
    return Math.max(this.#limited.until - this.#now(), 0);
  }

  /** Whether a parent waits for children that will not run again: it does so for ever. */
  isStuck(id: string): boolean {
    const job = this.#jobs.get(id);
    if (job?.state !== 'waiting-children') return false;
    return idsOfChildren(job, 'pending').every(child => {
      const state = this.#jobs.get(child)?.state;
      return state === undefined || state === 'failed' || this.isStuck(child);
    });
  }

  /** A copy of a job. */
  get(id: string): Readonly<StoredJob> | undefined {
    const job = this.#jobs.get(id);
    return job && { ...job };
  }

  get jobs(): Iterable<Readonly<StoredJob>> {
    return this.#jobs.values();
  }

  /** The ids of the active jobs, the last first. */
  activeIds(): readonly string[] {
    return [...this.#active];
  }

  /** In the order in which they are handed out. */
  idsOf(state: 'waiting' | 'delayed' | 'prioritized'): readonly string[] {
    if (state === 'waiting') return [...this.#waiting];
    return (state === 'delayed' ? this.#delayed : this.#prioritized).map(({ id }) => id);
  }

  /** Calls back when something may be fetched, with 0 or the time when a delayed job is due. @returns what ends it. */
  waitForMarker(onMarker: (score: number) => void): () => void {
    return this.#markers.wait(onMarker);
  }

  /** All that is stored, as a replica has it. */
  snapshot(): QueueSnapshot {
    return {
      jobs: [...this.#jobs].map(([id, job]) => [id, { ...job }]),
      waiting: [...this.#waiting],
      active: [...this.#active],
      delayed: [...this.#delayed],
      prioritized: [...this.#prioritized],
      stalled: [...this.#stalled],
      lastId: this.#lastId,
      limited: { ...this.#limited },
    };
  }

  restore(snapshot: QueueSnapshot): void {
    this.#jobs = new Map(snapshot.jobs.map(([id, job]) => [id, { ...job }]));
    this.#waiting = [...snapshot.waiting];
    this.#active = [...snapshot.active];
    this.#delayed = [...snapshot.delayed];
    this.#prioritized = [...snapshot.prioritized];
    this.#stalled = new Set(snapshot.stalled);
    this.#lastId = snapshot.lastId;
    this.#limited = { ...snapshot.limited };
    this.#markers.add('0', 0);
  }

  #lockOf(job: StoredJob): { readonly token: string } | undefined {
    return job.lock && job.lock.expiresAt > this.#now() ? job.lock : undefined;
  }

  #limitedFor({ max }: Limiter): number {
    return this.#limited.count >= max ? this.limitLasts : 0;
  }

  #count({ duration }: Limiter): void {
    if (this.limitLasts === 0) this.#limited = { count: 0, until: this.#now() + duration };
    this.#limited.count++;
  }

  #unlock(id: string, token: string): StoredJob {
    const job = this.#jobs.get(id);
    if (!job) throw new Error(`Missing key for job ${id}`);
    const lock = this.#lockOf(job);
    if (!lock) throw new Error(`Missing lock for job ${id}`);
    if (lock.token !== token) throw new Error(`Lock mismatch for job ${id}`);
    job.lock = undefined;
    this.#stalled.delete(id);
    return job;
  }

  #leaveActive({ id }: StoredJob): void {
    const i = this.#active.lastIndexOf(id);
    if (i < 0) throw new Error(`Job ${id} is not in the active state`);
    this.#active.splice(i, 1);
  }

  #enqueue(job: StoredJob, { first }: { readonly first: boolean }): void {
    const priority = job.opts.priority ?? 0;
    if (priority > 0) {
      job.state = 'prioritized';
      insert(this.#prioritized, { id: job.id, score: priority * 2 ** 32 + ++this.#priorities });
      if (!this.#isPaused) this.#markers.add('0', 0);
    } else this.#pushToWait(job, { first });
  }

  #pushToWait(job: StoredJob, { first }: { readonly first: boolean }): void {
    job.state = 'waiting';
    if (first) this.#waiting.unshift(job.id);
    else this.#waiting.push(job.id);
    if (!this.#isPaused) this.#markers.add('0', 0);
  }

  #delay(job: StoredJob, timestamp: number, delay: number): void {
    job.state = 'delayed';
    const due = timestamp + Math.max(delay, 0);
    const last = this.#delayed.findLast(one => Math.floor(one.score / 4096) === due);
    insert(this.#delayed, { id: job.id, score: last ? last.score + 1 : due * 4096 });
    this.#markDelayed();
  }

  #nextDelayed(): number | undefined {
    const [next] = this.#delayed;
    return next && Math.floor(next.score / 4096);
  }

  #markDelayed(): void {
    const next = this.#nextDelayed();
    if (next !== undefined) this.#markers.add('1', next);
  }

  #promoteDelayed(timestamp: number): void {
    while (this.#delayed[0] && this.#delayed[0].score < (timestamp + 1) * 4096) {
      const { id } = this.#delayed.shift() as Scored;
      const job = this.#jobs.get(id) as StoredJob;
      job.delay = 0;
      this.#enqueue(job, { first: false });
    }
  }

  #delete(job: StoredJob): void {
    const { id } = job;
    this.#jobs.delete(id);
    this.#waiting = this.#waiting.filter(one => one !== id);
    this.#active = this.#active.filter(one => one !== id);
    this.#delayed = this.#delayed.filter(one => one.id !== id);
    this.#prioritized = this.#prioritized.filter(one => one.id !== id);
    this.#observer.onRemoved(job);
  }
}

/** What a queue stores. */
export interface QueueSnapshot {
  readonly jobs: readonly (readonly [string, StoredJob])[];
  readonly waiting: readonly string[];
  readonly active: readonly string[];
  readonly delayed: readonly Scored[];
  readonly prioritized: readonly Scored[];
  readonly stalled: readonly string[];
  readonly lastId: number;
  readonly limited: { readonly count: number; readonly until: number };
}

function insert(list: Scored[], one: Scored): void {
  const i = list.findIndex(({ score }) => score > one.score);
  if (i < 0) list.push(one);
  else list.splice(i, 0, one);
}

/** The order in which Redis lists a small set of numbers. That of other ids is not known. */
function inOrderOfRedis(ids: Iterable<string>): string[] {
  const listed = [...ids];
  return listed.every(id => /^\d+$/.test(id)) ? listed.sort((a, b) => Number(a) - Number(b)) : listed;
}
