/** Serves servers of `Request` and `Response` with the handler of a board. */

import { readBody } from './body.ts';
import type { BoardRequest } from './request.ts';
import type { Answer } from './responses.ts';

/**
 * Answers one request.
 * @param handle - must not reject.
 * @param mount - the path under which the page is mounted. A `Request` does not say it.
 */
export async function serveFetch(
  handle: (request: BoardRequest) => Promise<Answer>,
  request: Request,
  mount = '',
): Promise<Response> {
  const { status, headers, body } = await handle(requestFrom(request, mount));
  return new Response(body === '' ? null : body, { status, headers });
}

function requestFrom(request: Request, mount: string): BoardRequest {
  const { pathname, searchParams, host } = new URL(request.url);
  const header = (name: string) => request.headers.get(name) ?? undefined;
  return {
    method: request.method,
    path: pathname,
    query: searchParams,
    mount,
    // A server that has used up this header has written it into the URL.
    header: name => header(name) ?? (name === 'host' ? host : undefined),
    body: () => readBody(chunksOf(request), header('content-length')),
    gone: request.signal,
  };
}

async function* chunksOf({ body }: Request): AsyncIterable<Uint8Array> {
  if (body) yield* body as unknown as AsyncIterable<Uint8Array>;
}
