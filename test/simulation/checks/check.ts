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
import type { Facts, JobFacts, Lease, Run } from '../facts.ts';
import type { QueueModel, StoredJob } from '../queue-model.ts';
import type { JobModel } from '../worker-model.ts';

export interface Check {
  /** A lease was granted. `before`: those of its key that had not ended until then, its own owner's included. */
  onGranted?(grant: Granted): void;
  onRefused?(step: AcquireStep | EnterStep, result: Refused, job: JobFacts | undefined): void;
  onRenewed?(step: RenewStep, lease: Lease | undefined): void;
  onReleased?(step: ReleaseStep | LeaveStep, lease: Lease | undefined): void;
  /** The library has freed a key by force. */
  onFreed?(lease: Lease): void;
  onHandedOut?(job: JobFacts, attempt: number): void;
  /** The guard is given a job. */
  onReceived?(job: JobFacts, model: JobModel): void;
  onStarted?(run: Run): void;
  /** The work looks at its lock. */
  onLook?(run: Run): void;
  /** The guard is done with a job. */
  onProcessed?(job: JobFacts, model: JobModel, outcome: { value: unknown } | { error: unknown }): void;
  onFinished?(job: JobFacts, stored: StoredJob, how: 'completed' | 'failed'): void;
  onEvent?(event: LockEvent, job: JobFacts | undefined): void;
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
