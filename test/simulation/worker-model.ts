/** A model of BullMQ's `Worker` and `Job`: fetching, lock renewal, stalled checks, and what becomes of a job that has been processed. */

import type { Clock } from './clock.ts';
import { type Connection, isConnectionError } from './network.ts';
import type { SimulatedProcess } from './process.ts';
import type { QueueModel } from './queue-model.ts';
import type { Fetched, Limiter, StoredJob } from './stored-job.ts';

export interface WorkerOptions {
  readonly concurrency: number;
  readonly lockDuration: number;
  readonly stalledInterval: number;
  readonly maxStalledCount: number;
  readonly maxStartedAttempts?: number | undefined;
  readonly limiter?: Limiter | undefined;
}

export type Processor = (job: JobModel, token: string, signal: AbortSignal) => Promise<unknown>;

/** Is told how the processor of a job ended, before BullMQ is. */
export type OnProcessed = (job: JobModel, outcome: { value: unknown } | { error: unknown }) => void;

/** The reason with which a job is cancelled. BullMQ's users name strings. */
export const CANCELLED = 'no longer wanted';

/** In ms. */
const DRAIN_DELAY = 5000;
const RETRY_DELAY = 1000;
const MAX_RATE_LIMIT_DELAY = 30_000;

/** By these BullMQ knows that a processor has moved its job itself. */
const MOVED = ['DelayedError', 'WaitingError', 'WaitingChildrenError'];
/** By this that it is to be moved back because of a rate limit. */
export const RATE_LIMITED = 'bullmq:rateLimitExceeded';

/** A job, as a worker has it. */
export class JobModel {
  readonly queue: WorkerModel;
  readonly id: string;
  readonly name: string;
  readonly data: any;
  readonly opts: StoredJob['opts'];
  timestamp = 0;
  attemptsMade = 0;
  attemptsStarted = 0;
  stalledCounter = 0;
  stacktrace: readonly string[] = [];
  delay = 0;
  processedOn: number | undefined;
  finishedOn: number | undefined;
  failedReason: string | undefined;
  deferredFailure: string | undefined;
  returnvalue: unknown;

  constructor(queue: WorkerModel, name: string, data: unknown, opts: StoredJob['opts'], id: string) {
    this.queue = queue;
    this.name = name;
    this.data = data;
    this.opts = opts;
    this.id = id;
  }

  static from(worker: WorkerModel, stored: Readonly<StoredJob>): JobModel {
    const { id, data, opts, state: _state, lock: _lock, children: _children, ...rest } = stored;
    return Object.assign(new JobModel(worker, 'job', data, opts, id), rest);
  }

  static async fromId(worker: WorkerModel, id: string): Promise<JobModel | undefined> {
    const stored = await worker.connection.send('Job.fromId', () => worker.server.get(id));
    return stored && JobModel.from(worker, stored);
  }

  get queueName(): string {
    return this.queue.name;
  }

  get queueQualifiedName(): string {
    return this.queue.qualifiedName;
  }

  get parentKey(): string | undefined {
    const { parent } = this.opts;
    return parent === undefined ? undefined : `${this.queueQualifiedName}:${parent}`;
  }

  async moveToWaitingChildren(token: string): Promise<boolean> {
    const { connection, server } = this.queue;
    return connection.send('moveToWaitingChildren', () => server.moveToWaitingChildren(this.id, token));
  }

  async moveToDelayed(timestamp: number, token = ''): Promise<void> {
    const { connection, server, clock } = this.queue;
    const now = clock.wall();
    const delay = Math.max(timestamp - now, 0);
    await connection.send('moveToDelayed', () => server.moveToDelayed(this.id, token, now, delay));
    this.delay = delay;
  }

  async moveToWait(token = ''): Promise<void> {
    const { connection, server } = this.queue;
    await connection.send('moveToWait', () => server.moveToWait(this.id, token));
  }

  async promote(): Promise<void> {
    const { connection, server } = this.queue;
    await connection.send('promote', () => server.promote(this.id));
  }

  extendLock(token: string, duration: number): Promise<number> {
    const { connection, server } = this.queue;
    return connection.send('extendLock', () => (server.extendLock(this.id, token, duration) ? 1 : 0));
  }

  async log(): Promise<void> {}
}

export class WorkerModel {
  readonly process: SimulatedProcess;
  readonly connection: Connection;
  readonly server: QueueModel;
  readonly opts: WorkerOptions;
  readonly name: string;
  readonly qualifiedName: string;
  readonly clock: Clock;
  readonly Job: typeof JobModel = JobModel;
  closing: Promise<void> | undefined;
  readonly backend: {
    readonly client: Promise<object>;
    getRanges(types: string[], start: number, end: number): Promise<string[][]>;
  };
  readonly #process: Processor;
  readonly #onProcessed: OnProcessed;
  readonly #onClosing = new Set<() => void>();
  /** The jobs whose locks are renewed here, by id. */
  readonly #tracked = new Map<
    string,
    { token: string; ts: number | undefined; controller: AbortController }
  >();
  #running = 0;
  #isDrained = false;
  #blockUntil = 0;
  #limitUntil = 0;
  #isFetching = false;
  #onIdle: () => void = () => {};
  /** Ends the wait for a job. */
  #stopWaiting: () => void = () => {};

  constructor(
    process: SimulatedProcess,
    connection: Connection,
    server: QueueModel,
    opts: WorkerOptions,
    processor: Processor,
    onProcessed: OnProcessed,
  ) {
    this.process = process;
    this.connection = connection;
    this.server = server;
    this.opts = opts;
    this.clock = process.clock;
    this.name = server.name;
    this.qualifiedName = `bull:${server.name}`;
    this.#process = processor;
    this.#onProcessed = onProcessed;
    this.backend = {
      client: Promise.resolve({ connection, options: {} }),
      getRanges: (_types, start, end) =>
        connection.send('getActive', () => [server.activeIds().slice(start, end + 1)]) as Promise<string[][]>,
    };
  }

  run(): void {
    this.#renewLocks();
    this.#checkStalled();
    void this.#fetch();
  }

  /** No job is fetched any more. Resolves when those under way have ended. */
  close(): Promise<void> {
    if (!this.closing) for (const listener of this.#onClosing) listener();
    this.closing ??= new Promise(resolve => {
      this.#onIdle = resolve;
    });
    this.#stopWaiting();
    this.#noticeIdle();
    return this.closing;
  }

  once(_event: 'closing', listener: () => void): void {
    this.#onClosing.add(listener);
  }

  off(_event: 'closing', listener: () => void): void {
    this.#onClosing.delete(listener);
  }

  /** Aborts the signal of a job that is being processed here. @returns whether it is. */
  cancelJob(id: string, reason: string): boolean {
    const tracked = this.#tracked.get(id);
    tracked?.controller.abort(reason);
    return tracked !== undefined;
  }

  /** Limited workers get no jobs for a while. */
  async rateLimit(ms: number): Promise<void> {
    await this.connection.send('rateLimit', () => this.server.rateLimit(ms));
  }

  /** A job that is under way from the server is still to run. */
  #noticeIdle(): void {
    if (this.closing && this.#running === 0 && !this.#isFetching) this.#onIdle();
  }

  /** One fetch at a time, as long as there are slots. */
  async #fetch(): Promise<void> {
    if (this.#isFetching) return;
    this.#isFetching = true;
    while (!this.closing && this.#running < this.opts.concurrency) {
      const token = `${this.process.name}:${this.process.tokens++}`;
      try {
        const limitedFor = this.#limitUntil - this.clock.wall();
        if (limitedFor > 0) await this.#waitFor(Math.min(limitedFor, MAX_RATE_LIMIT_DELAY));
        else if (this.#isDrained) await this.#waitForJob();
        if (this.closing) break;
        this.#take(await this.#moveToActive(token), token);
      } catch {
        await this.process.sleep(RETRY_DELAY);
      }
    }
    this.#isFetching = false;
    this.#noticeIdle();
  }

  #moveToActive(token: string): Promise<Fetched> {
    const { lockDuration, limiter } = this.opts;
    const now = this.clock.wall();
    return this.connection.send('moveToActive', () =>
      this.server.moveToActive(token, now, lockDuration, limiter),
    );
  }

  #waitFor(ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = this.process.setTimeout(resolve, ms);
      this.#stopWaiting = () => {
        timer.isCleared = true;
        resolve();
      };
    });
  }

  async #waitForJob(): Promise<void> {
    const untilDue = this.#blockUntil - this.clock.wall();
    const timeout = this.#blockUntil > 0 ? Math.min(untilDue, 10_000) : DRAIN_DELAY;
    if (timeout <= 0) return;
    this.#blockUntil = 0;
    const score = await new Promise<number>(resolve => {
      const timer = this.process.setTimeout(() => {
        stop();
        resolve(0);
      }, timeout);
      const stop = this.server.waitForMarker(score =>
        this.process.after(1, () => {
          timer.isCleared = true;
          resolve(score);
        }),
      );
      this.#stopWaiting = () => {
        timer.isCleared = true;
        stop();
        resolve(0);
      };
    });
    if (score > this.clock.wall()) {
      this.#blockUntil = score;
      await this.#waitForJob();
    }
  }

  #take({ job, delayUntil = 0, limitedFor = 0 }: Fetched, token: string): void {
    this.#blockUntil = delayUntil;
    this.#limitUntil = limitedFor > 0 ? this.clock.wall() + limitedFor : 0;
    this.#isDrained = job === undefined;
    if (!job) return;
    this.#running++;
    void this.#processJob(JobModel.from(this, job), token).then(next => {
      this.#running--;
      if (next) this.#take(next, token);
      void this.#fetch();
      this.#noticeIdle();
    });
  }

  async #processJob(job: JobModel, token: string): Promise<Fetched | undefined> {
    const controller = new AbortController();
    this.#tracked.set(job.id, { token, ts: job.processedOn, controller });
    const { maxStartedAttempts } = this.opts;
    const hasStartedTooOften = maxStartedAttempts && maxStartedAttempts < job.attemptsStarted;
    const unrecoverable =
      job.deferredFailure ?? (hasStartedTooOften ? 'job started more than allowable limit' : undefined);
    try {
      if (unrecoverable !== undefined) {
        return await this.#finish(job, () => this.#fail(job, unrecoverableError(unrecoverable), token));
      }
      let value: unknown;
      try {
        value = await this.#process(job, token, controller.signal);
      } catch (error) {
        this.#onProcessed(job, { error });
        return await this.#finish(job, () => this.#fail(job, error as Error, token));
      }
      this.#onProcessed(job, { value });
      try {
        return await this.#finish(job, () => this.#complete(job, value, token));
      } catch (error) {
        return await this.#finish(job, () => this.#fail(job, error as Error, token));
      }
    } catch {
      // BullMQ emits it.
      return undefined;
    } finally {
      this.#tracked.delete(job.id);
    }
  }

  /** Tries again where the connection was lost. */
  async #finish(job: JobModel, step: () => Promise<Fetched | undefined>): Promise<Fetched | undefined> {
    for (;;) {
      this.#tracked.delete(job.id);
      try {
        return await step();
      } catch (error) {
        if (!isConnectionError(error)) throw error;
        await this.process.sleep(RETRY_DELAY);
      }
    }
  }

  #complete({ id }: JobModel, value: unknown, token: string): Promise<Fetched | undefined> {
    const now = this.clock.wall();
    return this.#sendAndFetch('moveToCompleted', token, () =>
      this.server.finish(id, token, 'completed', value, now),
    );
  }

  async #fail(job: JobModel, error: Error, token: string): Promise<Fetched | undefined> {
    const { id, attemptsMade, opts } = job;
    const { name, message } = error;
    if (message === RATE_LIMITED) {
      const lasts = await this.connection.send('moveToWait', () => {
        this.server.moveToWait(id, token);
        return this.server.limitLasts;
      });
      this.#limitUntil = lasts > 0 ? this.clock.wall() + lasts : 0;
      return undefined;
    }
    if (MOVED.includes(name)) {
      return this.#fetchesNext ? this.#moveToActive(token) : undefined;
    }
    const now = this.clock.wall();
    const stacktrace = [...job.stacktrace, message];
    const { maxStartedAttempts } = this.opts;
    const mayStart = !maxStartedAttempts || job.attemptsStarted < maxStartedAttempts;
    if (attemptsMade + 1 < (opts.attempts ?? 1) && name !== 'UnrecoverableError' && mayStart) {
      const delay = opts.backoff ?? 0;
      if (delay > 0) {
        return this.#sendAndFetch('moveToDelayed', token, () =>
          this.server.moveToDelayed(id, token, now, delay, { reason: message, stacktrace }),
        );
      }
      await this.connection.send('retryJob', () => this.server.retry(id, token, now, message, stacktrace));
      return undefined;
    }
    return this.#sendAndFetch('moveToFailed', token, () =>
      this.server.finish(id, token, 'failed', message, now, stacktrace),
    );
  }

  get #fetchesNext(): boolean {
    return !this.closing && this.#running <= this.opts.concurrency;
  }

  #sendAndFetch(name: string, token: string, step: () => void): Promise<Fetched | undefined> {
    const { lockDuration, limiter } = this.opts;
    const now = this.clock.wall();
    const fetchesNext = this.#fetchesNext;
    return this.connection.send(name, () => {
      step();
      return fetchesNext ? this.server.moveToActive(token, now, lockDuration, limiter) : undefined;
    });
  }

  #renewLocks(): void {
    const renewTime = this.opts.lockDuration / 2;
    this.process.setTimeout(async () => {
      const now = this.clock.wall();
      const due: [string, string][] = [];
      for (const [id, tracked] of this.#tracked) {
        if (tracked.ts === undefined || tracked.ts + renewTime / 2 < now) {
          if (tracked.ts !== undefined) due.push([id, tracked.token]);
          tracked.ts = now;
        }
      }
      if (due.length > 0) {
        const extend = (): void => {
          for (const [id, token] of due) this.server.extendLock(id, token, this.opts.lockDuration);
        };
        await this.connection.send('extendLocks', extend).catch(() => {});
      }
      this.#renewLocks();
    }, renewTime / 2);
  }

  #checkStalled(): void {
    const { maxStalledCount, stalledInterval } = this.opts;
    const check = (): void => this.server.moveStalledToWait(maxStalledCount, stalledInterval);
    this.connection.send('moveStalledJobsToWait', check).catch(() => {});
    this.process.setTimeout(() => this.#checkStalled(), stalledInterval);
  }
}

function unrecoverableError(message: string): Error {
  return Object.assign(new Error(message), { name: 'UnrecoverableError' });
}
