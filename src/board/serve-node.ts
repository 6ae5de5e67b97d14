/** Serves `node:http`, and frameworks that are built on it, with a handler of `Request` and `Response`. */

import type { IncomingMessage, ServerResponse } from 'node:http';

/** More than a force release needs. A larger body is not read. */
const MAX_BODY_BYTES = 10_000;

/** What Express adds to a request. */
interface ExpressRequest {
  /** The whole path. Express removes the path of the mount from `url`. */
  readonly originalUrl?: string;
  /** The body, where a parser has read it already. */
  readonly body?: unknown;
}

/**
 * Answers one request. It never rejects, because not every server awaits it.
 * @param handle - must not reject.
 */
export async function serveNode(
  handle: (request: Request) => Promise<Response>,
  message: IncomingMessage & ExpressRequest,
  response: ServerResponse,
): Promise<void> {
  let request: Request;
  try {
    request = await requestFrom(message);
  } catch {
    // The method is one that a Request can't have, or the client has disconnected.
    response.writeHead(400).end();
    return;
  }
  const answer = await handle(request);
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(message.method === 'HEAD' ? undefined : Buffer.from(await answer.arrayBuffer()));
}

async function requestFrom(message: IncomingMessage & ExpressRequest): Promise<Request> {
  const { method = 'GET', originalUrl, url = '/' } = message;
  // Only the path counts. A path that begins with '//' must not be taken for a host.
  const target = new URL(`http://localhost${(originalUrl ?? url).replace(/^[^/]*/, '')}`);
  const body = method === 'POST' ? await bodyOf(message) : null;
  return new Request(target, { method, headers: headersOf(message), body });
}

function headersOf(message: IncomingMessage): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers)) {
    if (typeof value === 'string') headers.set(name, value);
  }
  return headers;
}

async function bodyOf(message: IncomingMessage & ExpressRequest): Promise<string> {
  if (typeof message.body === 'object' && message.body !== null) return JSON.stringify(message.body);
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message) {
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES) return '';
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}
