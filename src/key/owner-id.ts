/** Who a lease is for: a job, or one acquisition by this process. */

import { crypto, os } from '../core/builtins.ts';
import { shorten } from './shorten.ts';

/** Names this process. Made when the first owner is. */
let processName: string | undefined;
let acquisitions = 0;

/**
 * An owner is stored in the record of its lock, and comes with every answer about it. A producer may choose a job's id: it must not
 * make either large. A longer owner ends in a hash, and has 512 characters then.
 */
const MAX_OWNER_LENGTH = 468;

/** An owner, or the id of a job, as it is stored, compared and emitted: a long one keeps its beginning, and ends in a hash. */
export function boundOwner(owner: string): string {
  return shorten(owner, MAX_OWNER_LENGTH);
}

/** An owner that no other acquisition has: nobody reclaims its lease. */
export function newOwner(): string {
  processName ??= `${os().hostname()}:${process.pid}:${crypto().randomBytes(6).toString('base64url')}`;
  return `${processName}.${(acquisitions++).toString(36)}`;
}

/** A job, as its owner id names it. */
export interface JobIdentity {
  /** `<prefix>:<queue>` */
  readonly queueQualifiedName: string;
  readonly id: string;
  /** When the job was created, in ms since the epoch: distinguishes it from an earlier job of the same id. */
  readonly timestamp: number;
}

/**
 * The owner of a job's lease is the job, not the attempt: when BullMQ runs the job again, after its worker crashed or
 * stalled, it has the same owner and reclaims its lease. Different jobs never share an owner: a long one ends in a hash of the whole.
 */
export function ownerOfJob({ queueQualifiedName, id, timestamp }: JobIdentity): string {
  return boundOwner(`${queueQualifiedName}:${escapeId(boundOwner(id))}@${timestamp}`);
}

/** The job that an owner id names. */
export interface OwnedBy {
  readonly queueQualifiedName: string;
  readonly queueName: string;
  readonly jobId: string;
  readonly timestamp: number;
}

/** Duplicates come many at a time, and find the same owner. */
let lastFound: { readonly owner: string; readonly job: OwnedBy | undefined } | undefined;

/**
 * The job that an owner id names. The inverse of {@link ownerOfJob}.
 * @returns `undefined` where it names none, or its job's id was too long to be kept: never another job.
 */
export function jobOfOwner(owner: string): OwnedBy | undefined {
  if (lastFound?.owner !== owner) lastFound = { owner, job: parseOwner(owner) };
  return lastFound.job;
}

function parseOwner(owner: string): OwnedBy | undefined {
  const match = OWNER_OF_JOB.exec(owner);
  if (!match) return undefined;
  const [, prefix = '', queueName, id, timestamp] = match as [string, string?, string?, string?, string?];
  return {
    queueQualifiedName: `${prefix}${queueName}`,
    queueName: `${queueName}`,
    jobId: unescapeId(`${id}`),
    timestamp: Number(timestamp),
  };
}

/** A queue's name has no colon, and an escaped id has none: the last colon stands between them. */
const OWNER_OF_JOB = /^(.*:)?([^:]+):([^:]*)@(-?\d[\d.e+-]*|NaN)$/s;

function escapeId(id: string): string {
  return /[%:]/.test(id) ? id.replaceAll('%', '%25').replaceAll(':', '%3A') : id;
}

function unescapeId(id: string): string {
  return id.includes('%') ? id.replaceAll('%3A', ':').replaceAll('%25', '%') : id;
}
