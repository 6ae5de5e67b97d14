/** Finds the locks that the command line selects. */

import { type LockAdmin, type LockInfo, locksOf } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import type { Arguments } from './arguments.ts';

/** The locks that pass all filters, sorted by queue, scope and key. */
export async function findLocks(args: Arguments, cache: LockCache): Promise<LockInfo[]> {
  const { 'starts-with': startsWith, state } = args;
  const found: LockInfo[] = [];
  const filter = { startsWith, ...(state && { state }) };
  for await (const lock of adminOf(args, cache).list(filter)) found.push(lock);
  return found.sort((a, b) => (sortKeyOf(a) < sortKeyOf(b) ? -1 : 1));
}

/** The lock of a key: one, or where neither queue nor scope is given, those of all queues and scopes. */
export async function findByKey(key: string, args: Arguments, cache: LockCache): Promise<LockInfo[]> {
  if (args.queue === undefined && args.scope === undefined) {
    const candidates = await findLocks({ ...args, 'starts-with': key }, cache);
    return candidates.filter(lock => lock.key === key);
  }
  const lock = await adminOf(args, cache).get(key);
  return lock ? [lock] : [];
}

function adminOf({ queue, scope, datastore }: Arguments, cache: LockCache): LockAdmin {
  if (queue === undefined) return locksOf(cache, scope === undefined ? {} : { scope });
  const qualifiedName = 'redis' in datastore ? `${datastore.prefix}:${queue}` : queue;
  return locksOf({ name: queue, qualifiedName }, { cache });
}

function sortKeyOf({ queue = '', scope = '', key }: LockInfo): string {
  return [queue, scope, key].join('\0');
}
