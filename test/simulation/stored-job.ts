/** A job, as BullMQ stores it. */

/** What the failure of a child means for its parent. Where a child says nothing, its parent waits on. */
export type OnChildFailure =
  | 'failParentOnFailure'
  | 'continueParentOnFailure'
  | 'ignoreDependencyOnFailure'
  | 'removeDependencyOnFailure';

/** What is chosen from for a child, some of it more often. */
export const ON_CHILD_FAILURE: readonly (OnChildFailure | undefined)[] = [
  undefined,
  'failParentOnFailure',
  'failParentOnFailure',
  'continueParentOnFailure',
  'ignoreDependencyOnFailure',
  'removeDependencyOnFailure',
];

/** `'unsuccessful'`: it has failed, and its parent fails for that. `'failed'`: its parent does not. */
export type ChildState = 'pending' | 'processed' | 'failed' | 'unsuccessful';

/** The children of a job, by their ids. */
export type Children = Readonly<Record<string, ChildState>>;

export type JobState =
  | 'waiting'
  | 'active'
  | 'delayed'
  | 'prioritized'
  | 'waiting-children'
  | 'completed'
  | 'failed';

export interface JobOptions {
  readonly jobId?: string | undefined;
  readonly timestamp?: number | undefined;
  readonly delay?: number | undefined;
  readonly lifo?: boolean | undefined;
  readonly priority?: number | undefined;
  readonly attempts?: number | undefined;
  readonly backoff?: number | undefined;
  /** The id of its parent. */
  readonly parent?: string | undefined;
  readonly onFailure?: OnChildFailure | undefined;
}

export interface StoredJob {
  readonly id: string;
  readonly data: unknown;
  readonly timestamp: number;
  readonly opts: JobOptions;
  state: JobState;
  delay: number;
  attemptsMade: number;
  attemptsStarted: number;
  stalledCounter: number;
  stacktrace: readonly string[];
  processedOn: number | undefined;
  finishedOn: number | undefined;
  failedReason: string | undefined;
  /** It is to fail when it is handed out. */
  deferredFailure: string | undefined;
  returnvalue: unknown;
  children: Children;
  lock: { readonly token: string; readonly expiresAt: number } | undefined;
}

/** What is answered to a worker that asks for a job. */
export interface Fetched {
  readonly job?: Readonly<StoredJob> | undefined;
  /** When the next delayed job is due. */
  readonly delayUntil?: number | undefined;
  /** For how long the rate limit lasts, in ms. */
  readonly limitedFor?: number | undefined;
}

/** So many jobs are handed out in so many ms. */
export interface Limiter {
  readonly max: number;
  readonly duration: number;
}
