/** Finds the locks that the command line names. */

import type { LockAdmin, LockInfo } from '../admin/lock-admin.ts';
import { checkKey } from '../key/template.ts';
import type { Arguments } from './arguments.ts';

/** So many locks are kept in memory, and sorted, at a time. */
export const LOCKS_A_PAGE = 10_000;

/** The locks that pass all filters, in pages. Those of a page are sorted by queue, scope and key. */
export async function* findPages(args: Arguments, locks: LockAdmin): AsyncIterable<LockInfo[]> {
  const { 'starts-with': startsWith, state } = args;
  let page: LockInfo[] = [];
  for await (const lock of locks.list({ startsWith, ...(state && { state }) })) {
    page.push(lock);
    if (page.length < LOCKS_A_PAGE) continue;
    yield sorted(page);
    page = [];
  }
  if (page.length > 0) yield sorted(page);
}

/** The locks that pass all filters, sorted by queue, scope and key. */
async function findLocks(args: Arguments, locks: LockAdmin): Promise<LockInfo[]> {
  const found: LockInfo[] = [];
  for await (const page of findPages(args, locks)) for (const lock of page) found.push(lock);
  return sorted(found);
}

/**
 * The locks of a key: of each of its holders, and where neither queue nor scope is given, of all queues and scopes. Of a key that is free
 * and has a line, a lock in the state `'parked'`.
 */
export async function findByKey(key: string, args: Arguments, locks: LockAdmin): Promise<LockInfo[]> {
  if (args.queue !== undefined || args.scope !== undefined) {
    const lock = await locks.get(key);
    if (!lock?.line || lock.line.held < 2) return lock ? [lock] : [];
    const held = await findLocks({ ...args, state: undefined, 'starts-with': lock.key }, locks);
    return held.filter(({ storedKey }) => storedKey === lock.storedKey);
  }
  // A long key is listed in its short form.
  const listedKeys = new Set([key, checkKey(key, 'the key')]);
  const found: LockInfo[] = [];
  for (const listedKey of listedKeys) {
    const candidates = await findLocks({ ...args, 'starts-with': listedKey }, locks);
    found.push(...candidates.filter(lock => lock.key === listedKey));
  }
  return found;
}

function sorted(locks: LockInfo[]): LockInfo[] {
  return locks.sort((a, b) => (sortKeyOf(a) < sortKeyOf(b) ? -1 : 1));
}

function sortKeyOf({ queue = '', scope = '', key }: LockInfo): string {
  return [queue, scope, key].join('\0');
}
