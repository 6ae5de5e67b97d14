/**
 * Names a key in a cache, so that keys of different scopes never meet, and none meets a name that BullMQ makes. BullMQ begins
 * all that it stores with `<prefix>:<queue>:`, and a job's id, which a producer chooses, may be nearly anything. So our names have
 * an empty segment where the queue's name would be: there is no such queue.
 */

/** The name of a lock that belongs to no queue, or that queues share. */
export function scopedName(scope: string, key: string): string {
  return `once::1:${scope.replace(/[%:]/g, encodeURIComponent)}:${key}`;
}

/** The name of a queue's lock: under BullMQ's prefix, whose hash tag, if it has one, keeps it in the queue's slot of a cluster. */
export function queueName(qualifiedQueue: string, key: string): string {
  // The name of a queue has no colon.
  const end = qualifiedQueue.lastIndexOf(':');
  const prefix = qualifiedQueue.slice(0, Math.max(end, 0));
  return `${prefix}::once:1:${qualifiedQueue.slice(end + 1)}:${key}`;
}

/** The name of a job's lock: of its scope if it has one, else of its queue. */
export function jobName(
  { queueQualifiedName }: { readonly queueQualifiedName: string },
  scope: string | undefined,
  key: string,
): string {
  return scope === undefined ? queueName(queueQualifiedName, key) : scopedName(scope, key);
}

/** What the name of a lock says. */
export interface LockName {
  /** The key in the user's words. */
  readonly key: string;
  /** The qualified name of the queue that it belongs to; or else the scope. */
  readonly queue?: string;
  readonly scope?: string;
}

const OF_A_SCOPE = /^once::1:([^:]*):(.*)$/s;
/** The first mark decides: a key may have others in it. */
const OF_A_QUEUE = /^((?:(?!::once:).)*)::once:1:([^:]+):(.*)$/s;

/** Reads a name as {@link scopedName} and {@link queueName} write it; `undefined` where it is no lock's. */
export function parseName(storedKey: string): LockName | undefined {
  const scoped = OF_A_SCOPE.exec(storedKey);
  if (scoped) return { key: scoped[2] as string, scope: decodeScope(scoped[1] as string) };
  const ofQueue = OF_A_QUEUE.exec(storedKey);
  if (!ofQueue) return undefined;
  const [prefix, queue, key] = ofQueue.slice(1) as [string, string, string];
  return { key, queue: prefix === '' ? queue : `${prefix}:${queue}` };
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
