/** Names a key in a cache, so that keys of different scopes never meet. */

/** What is stored under a name: a lock, or which job is the newest of a key. */
export type StoredKind = 'once' | 'once-newest';

/** The name of a lock that belongs to no queue, or that queues share. */
export function scopedName(scope: string, key: string, kind: StoredKind = 'once'): string {
  return `${kind}:1:${scope.replace(/[%:]/g, encodeURIComponent)}:${key}`;
}

/**
 * The name of a queue's lock. Its empty segment keeps it apart from all that BullMQ stores for the queue: BullMQ would have a
 * job's id there. A hash tag in the prefix keeps its slot.
 */
export function queueName(qualifiedQueue: string, key: string, kind: StoredKind = 'once'): string {
  return `${qualifiedQueue}::${kind}:1:${key}`;
}

/** The name of a job's lock: of its scope if it has one, else of its queue. */
export function jobName(
  { queueQualifiedName }: { readonly queueQualifiedName: string },
  scope: string | undefined,
  key: string,
  kind: StoredKind = 'once',
): string {
  return scope === undefined ? queueName(queueQualifiedName, key, kind) : scopedName(scope, key, kind);
}

/** What the name of a lock says. */
export interface LockName {
  /** The key in the user's words. */
  readonly key: string;
  /** The qualified name of the queue that it belongs to; or else the scope. */
  readonly queue?: string;
  readonly scope?: string;
}

const OF_A_QUEUE = '::once:1:';
const OF_A_SCOPE = /^once:1:([^:]*):(.*)$/s;

/** Reads a name as {@link scopedName} and {@link queueName} write it; `undefined` where it is no lock's. */
export function parseName(storedKey: string): LockName | undefined {
  const scoped = OF_A_SCOPE.exec(storedKey);
  if (scoped) return { key: scoped[2] as string, scope: decodeScope(scoped[1] as string) };
  // The name of a queue has no empty segment, so the first one is the lock's.
  const at = storedKey.indexOf(OF_A_QUEUE);
  return at < 0 ? undefined : { key: storedKey.slice(at + OF_A_QUEUE.length), queue: storedKey.slice(0, at) };
}

export function isLockName(storedKey: string): boolean {
  return parseName(storedKey) !== undefined;
}

function decodeScope(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    // No lock wrote it: shown as it is.
    return encoded;
  }
}
