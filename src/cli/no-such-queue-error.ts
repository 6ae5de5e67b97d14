/** The datastore has no such queue. The message names those that have locks. */
export class NoSuchQueueError extends Error {}
