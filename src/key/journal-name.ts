/** Names what the journal of a queue is stored under: all of it in one slot of a Redis Cluster, and beside the names of jobs and locks. */

import { hashTag } from './line-name.ts';

/**
 * @param queue - with its prefix: `bull:emails`.
 * @param part - of the journal.
 */
export function journalName(queue: string, part: string): string {
  return hashTag(queue) === queue
    ? `once::once:journal:1:{${queue}}:${part}`
    : `${queue}::once:journal:1:${part}`;
}
