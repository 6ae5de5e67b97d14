/** Releases a lock by force, if the page itself asks for it. Only the acquisition that the page has shown is ended. */

import type { ParsedBoardOptions } from './options.ts';
import { json, problem } from './responses.ts';

/** @param request - its body says which lock: `{ source, storedKey, fence }`. */
export async function handleForceRelease(
  request: Request,
  { sources, readOnly }: ParsedBoardOptions,
): Promise<Response> {
  if (readOnly) return problem(403, 'this page is read-only');
  if (!isSameOrigin(request)) return problem(403, 'a force release must come from this page');
  const { source, storedKey, fence } = await bodyOf(request);
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
function isSameOrigin({ headers }: Request): boolean {
  const site = headers.get('sec-fetch-site');
  if (site !== null) return site === 'same-origin';
  const origin = headers.get('origin');
  return origin !== null && URL.canParse(origin) && new URL(origin).host === headers.get('host');
}

function isFence(given: unknown): given is number {
  return Number.isSafeInteger(given);
}

async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  try {
    return Object(await request.json());
  } catch {
    return {};
  }
}
