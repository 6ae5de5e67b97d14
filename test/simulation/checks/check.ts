/** What a check is: an object that is told of everything, after the facts were noted, and says what is wrong. */

import type {
  AcquireResult,
  AcquireStep,
  EnterResult,
  EnterStep,
  LeaveStep,
  ReleaseStep,
  RenewStep,
} from '../../../src/cache/contract.ts';
import type { LockEvent } from '../../../src/events/events.ts';
import type { Call, Facts, JobFacts, Lease, Outcome, Run, Work } from '../facts.ts';
import type { OptionsPlan } from '../plan.ts';
import type { QueueModel } from '../queue-model.ts';
import type { StoredJob } from '../stored-job.ts';
import type { JobModel, WorkerModel } from '../worker-model.ts';

export interface Check {
  /** A lease was granted. `before`: those of its key that had not ended until then, its own owner's included. */
  onGranted?(grant: Granted): void;
  onRefused?(step: AcquireStep | EnterStep, result: Refused, job: JobFacts | undefined): void;
  onRenewed?(step: RenewStep, lease: Lease | undefined): void;
  onReleased?(step: ReleaseStep | LeaveStep, lease: Lease | undefined): void;
  /** The library has freed a key by force. */
  onFreed?(lease: Lease): void;
  onHandedOut?(job: JobFacts, attempt: number): void;
  /** It was in the delayed set. */
  onPromoted?(job: JobFacts, stored: StoredJob): void;
  onCancelled?(job: JobFacts, worker: WorkerModel): void;
  /** The guard is given a job. */
  onReceived?(job: JobFacts, model: JobModel): void;
  onStarted?(run: Run): void;
  /** Work under a lock begins: a run of a job, or that of a caller. */
  onWork?(work: Work): void;
  /** The work looks at its lock. */
  onLook?(work: Work): void;
  onCalled?(call: Call): void;
  /** A caller has released its lock. */
  onHandleReleased?(work: Work, released: boolean): void;
  onCallEnded?(call: Call, outcome: Outcome): void;
  /** The guard is done with a job. */
  onProcessed?(job: JobFacts, model: JobModel, outcome: Outcome): void;
  onFinished?(job: JobFacts, stored: StoredJob, how: 'completed' | 'failed'): void;
  /** @param options - those of the version that has emitted it. */
  onEvent?(event: LockEvent, job: JobFacts | undefined, options: OptionsPlan): void;
  /** All is over. */
  atEnd?(queues: readonly QueueModel[]): void;
}

export type Refused = (AcquireResult | EnterResult) & { acquired: false };

export interface Granted {
  readonly step: AcquireStep | EnterStep;
  readonly result: (AcquireResult | EnterResult) & { acquired: true };
  readonly lease: Lease;
  readonly before: readonly Lease[];
  /** The answer to the same step got lost before. */
  readonly isRepeated: boolean;
  readonly job: JobFacts | undefined;
}

/** Makes a check on the facts of a history. */
export type MakeCheck = (facts: Facts, queues: readonly QueueModel[]) => Check;
