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

/** What is kept under the name: a lock, or which job is the newest. */
export type Room = 'once' | 'once-newest';
