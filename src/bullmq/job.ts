/** What a BullMQ job looks like to the guard: the only file that knows. */

import { boundOwner, newOwner, type OwnedBy, ownerOfJob } from '../key/owner-id.ts';
import type { Telemetry } from './telemetry.ts';

/**
 * What the guard needs of a job. Those of BullMQ 5 and 6 fit, and the plain objects that a sandboxed processor gets; what these
 * do not have is optional here.
 */
export interface JobLike {
  readonly id?: string | undefined;
  readonly name: string;
  readonly data: any;
  /** When it was created, in ms since the epoch. */
  readonly timestamp: number;
  readonly queueName: string;
  /** `<prefix>:<queue>` */
  readonly queueQualifiedName: string;
  /** How often BullMQ has started it. */
  readonly attemptsStarted?: number;
  /** How often it has failed. */
  readonly attemptsMade?: number;
  readonly stalledCounter?: number;
  /** One for each failure, as many as BullMQ keeps. */
  readonly stacktrace?: readonly string[] | string | null;
  /** When its worker asked for it, in ms since the epoch by the worker's clock. */
  readonly processedOn?: number | undefined;
  /** How long it was delayed last, in ms. */
  readonly delay?: number;
  /** `<prefix>:<queue>:<id>` of the job that waits for this one as its child. */
  readonly parentKey?: string | undefined;
  /** `job.discard()` was called: it is not retried. */
  readonly discarded?: boolean;
  readonly opts?: {
    readonly attempts?: number;
    readonly backoff?: number | { readonly type: string; readonly delay?: number };
  };
}

/** What the guard does with a job that a worker runs. */
export interface RunningJob extends JobLike {
  moveToDelayed(timestamp: number, token?: string): Promise<unknown>;
  /** Writes a line to the job's log; in a sandbox it sends the line to the worker. */
  log?(line: string): unknown;
  /** Runs a delayed job now. Not in a sandbox. */
  promote?(): Promise<void>;
  /** Where it waits, it is moved among those of a priority: to the front with `lifo`. Not in a sandbox. */
  changePriority?(opts: { priority: number; lifo: boolean }): Promise<void>;
  readonly priority?: number;
  /** Answers 1 if BullMQ's own lock on the job was this token's, else 0. Not in a sandbox. */
  extendLock?(token: string, duration: number): Promise<number | string>;
  /** The worker. BullMQ's types hide it; not in a sandbox. */
  readonly queue?: WorkerLike;
}

/** What the guard needs of a worker. */
export interface WorkerLike {
  /** Set when it closes. */
  readonly closing?: unknown;
  once?(event: 'closing', listener: () => void): unknown;
  off?(event: 'closing', listener: () => void): unknown;
  readonly opts?: {
    readonly lockDuration?: number;
    readonly maxStartedAttempts?: number;
    readonly telemetry?: Telemetry;
  };
}

/** Who a job's lease is for, see {@link ownerOfJob}. A job that a test made without an id is no other's earlier run. */
export function ownerOf({ queueQualifiedName, id, timestamp }: JobLike): string {
  return id === undefined ? newOwner() : ownerOfJob({ queueQualifiedName, id, timestamp });
}

/** The job's id, as events carry it: bounded as its owner is. */
export function idOf({ id }: JobLike): string | undefined {
  return id === undefined ? undefined : boundOwner(id);
}

/**
 * Whether its queue gave a job its id: it gives none twice. Others are a producer's choice, and may be given again. BullMQ takes none that
 * reads as an integer, but `'007'`, and what is too long for a number.
 */
export function isNumbered(id: string): boolean {
  return /^[1-9]\d{0,14}$/.test(id);
}

/** Which run of the job this is. An older run never reclaims the lease of a newer one. */
export function attemptOf(job: JobLike): number {
  return job.attemptsStarted ?? 0;
}

/** Whether BullMQ has recorded an earlier run of the job that failed or stalled. */
export function hasRunBefore({ attemptsMade = 0, stalledCounter = 0, stacktrace }: JobLike): boolean {
  return attemptsMade > 0 || stalledCounter > 0 || (stacktrace?.length ?? 0) > 0;
}

/** Whether the job runs in a sandbox: a process or thread that may end while its worker lives. */
export function isInSandbox({ queue }: RunningJob): boolean {
  return queue === undefined;
}

/** The `lockDuration` of the job's worker in ms: BullMQ's own lease on the job. */
export function lockDurationOf(job: RunningJob): number | undefined {
  return job.queue?.opts?.lockDuration;
}

/** A job as BullMQ reads it from its queue. */
interface QueuedJob extends RunningJob {
  /** When it completed or failed for good, in ms since the epoch. */
  readonly finishedOn?: number | undefined;
  readonly failedReason?: string | undefined;
  readonly returnvalue?: unknown;
}

/** What the guard needs of BullMQ's class `Job`. */
interface JobClass {
  fromId?(queue: unknown, id: string): Promise<QueuedJob | undefined>;
}

/** Asks a job's own queue for the job with an id; `undefined` where it can't be asked, as in a sandbox. */
export function askQueue(asking: RunningJob, id: string): Promise<QueuedJob | undefined> | undefined {
  const { fromId } = asking.constructor as JobClass;
  return asking.queue && fromId?.call(asking.constructor, asking.queue, id);
}

/** What is needed of BullMQ's `Queue` or `Worker`: its class `Job`, which BullMQ's types hide. */
interface QueueOfJobs {
  readonly Job?: { fromId(queue: unknown, id: string): Promise<QueuedJob | undefined> };
}

/** Reads the job of an owner from its queue, or from a worker of that; `undefined` where it is gone, or another job has its id by now. */
export async function readJob(queue: object, { jobId, timestamp }: OwnedBy): Promise<QueuedJob | undefined> {
  const job = await (queue as QueueOfJobs).Job?.fromId(queue, jobId);
  return job?.timestamp === timestamp ? job : undefined;
}
