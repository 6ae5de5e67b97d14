/** Selects the locks of a queue, of a scope, or all that are in the datastore. */

import { type LockAdmin, locksOf } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import { listed } from '../core/printable.ts';
import type { Arguments } from './arguments.ts';
import type { Connection } from './connect.ts';
import { NoSuchQueueError } from './no-such-queue-error.ts';

/** @throws NoSuchQueueError the datastore has no such queue, and no lock of one. */
export async function selectLocks(args: Arguments, connection: Connection): Promise<LockAdmin> {
  const { queue, scope } = args;
  const { cache } = connection;
  if (queue === undefined) return locksOf(cache, scope === undefined ? {} : { scope });
  const qualifiedName = await findQueue(queue, args, connection);
  return locksOf({ name: queue, qualifiedName }, { cache });
}

/** A misspelt queue has no locks. To say so would be a false all-clear. */
async function findQueue(queue: string, args: Arguments, connection: Connection): Promise<string> {
  const names = qualifiedNames(queue, args);
  for (const name of names) if (await connection.hasQueue(name)) return name;
  // The locks of a queue can be apart from the queue.
  const withLocks = await queuesWithLocks(connection.cache);
  const found = names.find(name => withLocks.has(name));
  if (found === undefined) throw new NoSuchQueueError(describeMissing(queue, args, [...withLocks]));
  return found;
}

/** What `--queue` can stand for: a queue's name, or its qualified name as the command line prints it. The likelier one comes first. */
function qualifiedNames(queue: string, { prefix, datastore }: Arguments): string[] {
  const names = [`${prefix}:${queue}`, queue];
  const isQualified = queue.includes(':') || 'postgres' in datastore;
  return isQualified ? names.reverse() : names;
}

async function queuesWithLocks(cache: LockCache): Promise<Set<string>> {
  const queues = new Set<string>();
  for await (const { queue } of locksOf(cache).list()) if (queue !== undefined) queues.add(queue);
  return queues;
}

function describeMissing(
  queue: string,
  { prefix, datastore }: Arguments,
  withLocks: readonly string[],
): string {
  const isPlainName = 'redis' in datastore && !queue.includes(':');
  const missing = `there is no queue '${queue}'${isPlainName ? ` with prefix '${prefix}'` : ''}`;
  return `${missing}; queues that have locks: ${listed([...withLocks].sort()) || 'none'}`;
}
