/** Names a key in a cache, so that keys of different scopes never meet. */

/** The key of a lock that belongs to no queue, or that queues share. */
export function scopedName(scope: string, key: string): string {
  return `once:1:${scope.replace(/[%:]/g, encodeURIComponent)}:${key}`;
}

/**
 * The key of a queue's lock. The empty segment can't be part of a job's id, which BullMQ would put there, and
 * keeps the name apart from all that BullMQ stores for the queue. A hash tag in the prefix keeps its slot.
 */
export function queueName(qualifiedQueue: string, key: string): string {
  return `${qualifiedQueue}::once:1:${key}`;
}
