/**
 * Names what the journal of a queue is stored under: all of it in one slot of a Redis Cluster, by the hash tag that the queue's prefix has, else
 * by one that is all of the queue's name. No lock has such a name, and BullMQ makes none.
 */

import { hashTag } from './line-name.ts';
import { queueName } from './stored-name.ts';

/**
 * @param queue - with its prefix: `bull:emails`.
 * @param part - of the journal.
 */
export function journalName(queue: string, part: string): string {
  if (hashTag(queue) === queue) return `once::once:journal:1:{${queue}}:${part}`;
  return queueName(queue, part).replace('::once:1:', '::once:journal:1:');
}
