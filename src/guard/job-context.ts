/** A job and its key: all that there is to know of it from its claim on. */

import type { Claimant } from '../lock/lock-request.ts';
import type { FailingJob } from '../bullmq/retries.ts';

export interface Task {
  readonly job: FailingJob;
  readonly token: string | undefined;
  /** The key as its user knows it. */
  readonly name: string;
  readonly owner: string;
  readonly ttl: number;
  /** The scope that the user gave; absent where it is the queue. */
  readonly scope: string | undefined;
  readonly claimant: Claimant;
}
