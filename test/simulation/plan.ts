/** A history to be played, as plain data: who takes part, with which options, and what happens when. */

import type { ClientKind } from './network.ts';
import type { Machine } from './process.ts';
import type { JobOptions } from './stored-job.ts';
import type { WorkerOptions } from './worker-model.ts';

export type WhenLockedPlan =
  | 'skip'
  | 'raise'
  | 'in-order'
  | 'keep-last'
  | 'replace'
  | 'share'
  | 'callback'
  | { readonly delay: number | 'holder'; readonly limit?: number }
  | { readonly waitFor: number };

export function waitsInSlot(form: WhenLockedPlan): form is { readonly waitFor: number } {
  return typeof form === 'object' && 'waitFor' in form;
}

/** The options of `onceProcessor`. */
export interface OptionsPlan {
  readonly whenLocked: WhenLockedPlan;
  readonly raiseIfLock?: boolean;
  readonly concurrency?: number;
  readonly ttl?: number;
  readonly maxHold?: number;
  readonly dedupeFor?: number;
  readonly holdThroughRetries?: boolean;
  readonly onCacheError?: 'raise' | 'run';
  readonly mode?: 'enforce' | 'observe';
  readonly scope?: string;
  /** Jobs of one key and another amount are no duplicates. */
  readonly match?: '{amount}';
  /** `onEvent` throws. */
  readonly listenerThrows?: boolean;
}

/** One run of a job's processor. */
export interface RunPlan {
  readonly ms: number;
  readonly how:
    | 'complete'
    | 'fail'
    | 'fail for good'
    | 'delay itself'
    | 'go back'
    | 'rate limit'
    | 'wait for children';
  /** It adds them, and waits for them. */
  readonly children?: readonly JobPlan[];
  /** It ends as soon as its signal aborts. */
  readonly obeys?: boolean;
  /** It releases its lock before its end. */
  readonly releasesEarly?: boolean;
  /** Its result is too large to be kept. */
  readonly returnsMuch?: boolean;
}

export interface JobPlan {
  readonly queue: number;
  readonly key: string;
  readonly amount: number;
  readonly opts: JobOptions;
  readonly runs: readonly RunPlan[];
  /** It is the parent of a flow: it is handed out when they have ended. */
  readonly children?: readonly JobPlan[];
}

/** A call of `once`, or of a `Lock`, in a process that has workers too. */
export interface CallPlan {
  readonly key: string;
  readonly how: 'tryAcquire' | 'acquire' | 'run' | 'once';
  /** In ms. */
  readonly waitFor: number;
  /** Of the work under the lock, in ms. */
  readonly ms: number;
  readonly fails?: boolean;
  /** The owner that a `Lock` names. Its process has it anew when it has crashed. */
  readonly owner?: string;
  /** A call of `once` that finds its key held rejects. */
  readonly raises?: boolean;
  /** A call of `once` that finds its key held waits, and shares the result. */
  readonly shares?: boolean;
}

/** What a new version of the program does differently. */
export type ChangesPlan = Partial<
  Pick<OptionsPlan, 'whenLocked' | 'raiseIfLock' | 'concurrency' | 'ttl' | 'dedupeFor'>
>;

/** What happens, and when. Times are in ms of virtual time. A process or a job is named by its number. */
export type Step = { readonly at: number } & (
  | { readonly do: 'add'; readonly job: JobPlan }
  | { readonly do: 'remove' | 'promote' | 'retry'; readonly nth: number }
  /** A worker that has the job cancels it. */
  | { readonly do: 'cancel'; readonly nth: number }
  | { readonly do: 'drain'; readonly queue: number; readonly delayed: boolean }
  | { readonly do: 'pause'; readonly queue: number; readonly ms: number }
  | { readonly do: 'force-release'; readonly key: string }
  | { readonly do: 'call'; readonly process: number; readonly call: CallPlan }
  | { readonly do: 'crash'; readonly process: number; readonly ms: number }
  /** A new process starts, and the old one ends when its jobs have: SIGTERM. */
  | {
      readonly do: 'deploy';
      readonly process: number;
      readonly changes: ChangesPlan;
      /** Of its workers. */
      readonly slots: number;
    }
  /** At the moment when the server has carried out such a command the next time, whoever has sent it. */
  | {
      readonly do: 'at the next';
      readonly command: string;
      readonly fault: 'cut' | 'crash' | 'freeze';
      readonly ms: number;
    }
  | { readonly do: 'freeze'; readonly process: number; readonly ms: number }
  | { readonly do: 'jump'; readonly process: number; readonly ms: number }
  | { readonly do: 'cut' | 'stall'; readonly process: number; readonly ms: number }
  | { readonly do: 'slow'; readonly process: number; readonly ms: number; readonly extra: number }
  | { readonly do: 'server down'; readonly ms: number }
  | { readonly do: 'lose locks' }
  | { readonly do: 'fail over'; readonly lag: number }
  | { readonly do: 'refuse'; readonly what: 'acquisitions' | 'writes'; readonly ms: number }
  | { readonly do: 'jump of the server'; readonly ms: number }
);

export interface Plan {
  readonly seed: number;
  readonly options: OptionsPlan;
  /** Locks are kept on the queue's own connection, or on a pool of connections that is named as the cache. */
  readonly cache: 'of the queue' | 'a pool';
  readonly queues: number;
  /** How many workers each process has for each queue. */
  readonly workers: number;
  readonly worker: WorkerOptions;
  readonly machines: readonly Machine[];
  readonly client: ClientKind;
  /** Of a connection, one way, in ms. */
  readonly latency: number;
  readonly steps: readonly Step[];
}
