/** Releases a lock by force, if the page itself asks for it and has shown the current holder. */

import type { LockAdmin, LockInfo } from '../admin/lock-admin.ts';
import type { ParsedBoardOptions } from './options.ts';
import { json, problem } from './responses.ts';

const NO_LONGER_HELD = 'the key is no longer held';

/** @param request - its body says which lock: `{ source, storedKey, fence }`. */
export async function handleForceRelease(
  request: Request,
  { sources, readOnly }: ParsedBoardOptions,
): Promise<Response> {
  if (readOnly) return problem(403, 'this page is read-only');
  if (!isSameOrigin(request)) return problem(403, 'a force release must come from this page');
  const { source, storedKey, fence } = await bodyOf(request);
  const admin = sources.get(String(source));
  if (!admin || typeof storedKey !== 'string') {
    return problem(400, "the request does not say which lock: it needs 'source', 'storedKey' and 'fence'");
  }
  const lock = await findLock(admin, storedKey);
  if (!lock) return problem(409, NO_LONGER_HELD);
  // The user has decided about the holder that the page showed.
  if (lock.fence !== fence) return problem(409, 'the key has another holder by now');
  const isReleased = await admin.forceRelease(lock);
  return isReleased ? json(200, { released: true }) : problem(409, NO_LONGER_HELD);
}

/**
 * Whether a page of the same origin sent the request. Browsers say so in `Sec-Fetch-Site`; over plain HTTP only `Origin` is
 * sent.
 * @see https://owasp.org/www-community/attacks/csrf
 */
function isSameOrigin({ headers }: Request): boolean {
  const site = headers.get('sec-fetch-site');
  if (site !== null) return site === 'same-origin';
  const origin = headers.get('origin');
  return origin !== null && URL.canParse(origin) && new URL(origin).host === headers.get('host');
}

async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  try {
    return Object(await request.json());
  } catch {
    return {};
  }
}

async function findLock(admin: LockAdmin, storedKey: string): Promise<LockInfo | undefined> {
  for await (const lock of admin.list()) {
    if (lock.storedKey === storedKey) return lock;
  }
  return undefined;
}
