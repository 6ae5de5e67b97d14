/** The datastore has no such queue, or no such schema. The message says which there are, or which is missing. */
export class NoSuchQueueError extends Error {}
