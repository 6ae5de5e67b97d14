/** Releases a lock by force, if the page itself asks for it. Only the acquisition that the page has shown is ended. */

import type { ParsedBoardOptions } from './options.ts';
import type { BoardRequest } from './request.ts';
import { type Answer, json, problem } from './responses.ts';

/** @param request - its body says which lock: `{ source, storedKey, fence }`. Its Host is trusted. */
export async function handleForceRelease(
  request: BoardRequest,
  { sources, allowForceRelease }: ParsedBoardOptions,
): Promise<Answer> {
  if (!allowForceRelease) {
    return problem(
      403,
      "this board is read-only; its option 'allowForceRelease: true' allows a force release",
    );
  }
  if (!isSameOrigin(request)) return problem(403, 'a force release must come from this page');
  const { source, storedKey, fence } = Object(await request.body()) as Record<string, unknown>;
  const shown = sources.get(String(source));
  if (!shown || typeof storedKey !== 'string' || !isFence(fence)) {
    return problem(400, "the request does not say which lock: it needs 'source', 'storedKey' and 'fence'");
  }
  const result = await shown.forceRelease({ storedKey, fence });
  if (result.released) return json(200, { released: true });
  return problem(result.why === 'refused' ? 409 : 503, result.problem);
}

/**
 * Whether a page of the same origin sent the request. Browsers say so in `Sec-Fetch-Site`; over plain HTTP only `Origin` is
 * sent.
 * @see https://owasp.org/www-community/attacks/csrf
 */
function isSameOrigin(request: BoardRequest): boolean {
  const site = request.header('sec-fetch-site');
  if (site !== undefined) return site === 'same-origin';
  const origin = request.header('origin');
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === request.header('host');
}

function isFence(given: unknown): given is number {
  return Number.isSafeInteger(given);
}
