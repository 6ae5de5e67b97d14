/** Names a key in a cache, so that keys of different scopes never meet. */

/** The key of a lock that belongs to no queue, or that queues share. */
export function scopedName(scope: string, key: string, room: Room = 'once'): string {
  return `${room}:1:${scope.replace(/[%:]/g, encodeURIComponent)}:${key}`;
}

/**
 * The key of a queue's lock. The empty segment can't be part of a job's id, which BullMQ would put there, and
 * keeps the name apart from all that BullMQ stores for the queue. A hash tag in the prefix keeps its slot.
 */
export function queueName(qualifiedQueue: string, key: string, room: Room = 'once'): string {
  return `${qualifiedQueue}::${room}:1:${key}`;
}

/** The name of a job's key in its cache: of its scope, if it names one, else of its queue. */
export function jobName(
  { queueQualifiedName }: { readonly queueQualifiedName: string },
  scope: string | undefined,
  key: string,
  room: Room = 'once',
): string {
  return scope === undefined ? queueName(queueQualifiedName, key, room) : scopedName(scope, key, room);
}

/** What the name of a lock says. */
export interface LockName {
  /** The key as its user knows it. */
  readonly key: string;
  /** The qualified name of the queue that it belongs to; or else the scope. */
  readonly queue?: string;
  readonly scope?: string;
}

const OF_A_QUEUE = '::once:1:';
const OF_A_SCOPE = /^once:1:([^:]*):(.*)$/s;

/** Reads a name as {@link scopedName} and {@link queueName} write it; nothing, where it is no lock's. */
export function parseName(name: string): LockName | undefined {
  const scoped = OF_A_SCOPE.exec(name);
  if (scoped) return { key: scoped[2] as string, scope: decodeScope(scoped[1] as string) };
  // A queue's own name has no empty segment, so the first is the lock's.
  const at = name.indexOf(OF_A_QUEUE);
  return at < 0 ? undefined : { key: name.slice(at + OF_A_QUEUE.length), queue: name.slice(0, at) };
}

export function isLockName(name: string): boolean {
  return parseName(name) !== undefined;
}

function decodeScope(written: string): string {
  try {
    return decodeURIComponent(written);
  } catch {
    // Not written by a lock: shown as it is.
    return written;
  }
}

/** What is kept under the name: a lock, or which job is the newest. */
export type Room = 'once' | 'once-newest';
