/** Who a job's lease is for: the job itself, not the attempt or the worker. */

/** What is asked of a BullMQ job. Those of BullMQ 5 and 6 fit, and the plain ones in a sandbox. */
export interface JobLike {
  readonly id?: string | undefined;
  readonly name: string;
  readonly data: any;
  /** When it was created, in ms since the epoch: tells it from an earlier job of the same id. */
  readonly timestamp: number;
  readonly attemptsStarted?: number;
  readonly queueName: string;
  /** `<prefix>:<queue>` */
  readonly queueQualifiedName: string;
}

/**
 * The owner of a job's lease. When BullMQ runs the same job again, after its worker died or stalled, it has the
 * same owner, and takes its own lease over.
 */
export function ownerOf(job: JobLike): string {
  return `${job.queueQualifiedName}:${job.id}@${job.timestamp}`;
}

/** The id of the job that a lease is for, where it is one of this queue. The inverse of {@link ownerOf}. */
export function jobIdIn(owner: string, qualifiedQueue: string): string | undefined {
  const start = `${qualifiedQueue}:`;
  const end = owner.lastIndexOf('@');
  return end < 0 || !owner.startsWith(start) ? undefined : owner.slice(start.length, end);
}

/** Which run of the job this is: an older one never takes the lease over from a newer. */
export function attemptOf(job: JobLike): number {
  return job.attemptsStarted ?? 0;
}
