/** Lets a handler of `Request` and `Response` serve `node:http`, and what is built on it. */

import type { IncomingMessage, ServerResponse } from 'node:http';

/** More than a release ever needs. */
const MOST_BYTES = 10_000;

/** What Express adds. */
interface Express {
  /** The path before whatever it is mounted under was cut off. */
  readonly originalUrl?: string;
  /** What a parser before this has read. */
  readonly body?: unknown;
}

/** Never rejects: nobody waits for it who could tell of it. */
export async function serve(
  fetch: (request: Request) => Promise<Response>,
  message: IncomingMessage & Express,
  response: ServerResponse,
): Promise<void> {
  let request: Request;
  try {
    request = await requestFrom(message);
  } catch {
    // A method that no Request may have, or a client that has gone.
    response.writeHead(400).end();
    return;
  }
  const answer = await fetch(request);
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(message.method === 'HEAD' ? undefined : Buffer.from(await answer.arrayBuffer()));
}

async function requestFrom(message: IncomingMessage & Express): Promise<Request> {
  const { method = 'GET', headers, originalUrl, url = '/' } = message;
  const given = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string') given.set(name, value);
  }
  // Only the path counts, and a path may look like a host.
  const target = new URL(`http://localhost${(originalUrl ?? url).replace(/^[^/]*/, '')}`);
  const body = method === 'POST' ? await bodyOf(message) : null;
  return new Request(target, { method, headers: given, body });
}

async function bodyOf(message: IncomingMessage & Express): Promise<string> {
  if (typeof message.body === 'object' && message.body !== null) return JSON.stringify(message.body);
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of message) {
    size += (part as Buffer).length;
    if (size > MOST_BYTES) return '';
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString();
}
