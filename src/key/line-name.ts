/**
 * Names what is stored beside the lock of a key: its line, and the result of its work. All are in one slot of a Redis Cluster: by the hash
 * tag that the key's name has, else by one that is all of its name. No lock has such a name.
 */

/** @param storedKey - the name of the key's lock. */
export function lineName(storedKey: string): string {
  return besideName(storedKey, 'line');
}

/** @param storedKey - the name of the key's lock. */
export function resultName(storedKey: string): string {
  return besideName(storedKey, 'result');
}

const SCOPE_MARK = 'once::1:';

function besideName(storedKey: string, what: string): string {
  if (hashTag(storedKey) === storedKey) return `once::once:${what}:1:{${storedKey}}`;
  // The key may have the mark of a queue's lock in it: so another one stands before that.
  if (storedKey.startsWith(SCOPE_MARK)) {
    return `once::once:${what}::1:${storedKey.slice(SCOPE_MARK.length)}`;
  }
  // The first mark decides: a key may have others in it.
  const mark = storedKey.search(/(?<=::once:)1:/);
  if (mark < 0) return `once::once:${what}:1:${storedKey}`;
  return `${storedKey.slice(0, mark)}${what}:${storedKey.slice(mark)}`;
}

/**
 * The part of a key that decides its slot in a cluster: what stands in its first braces, else all of it.
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
export function hashTag(storedKey: string): string {
  const open = storedKey.indexOf('{');
  const close = open < 0 ? -1 : storedKey.indexOf('}', open);
  return close > open + 1 ? storedKey.slice(open + 1, close) : storedKey;
}
