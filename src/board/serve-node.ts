/** Serves `node:http`, `node:http2`, and frameworks that are built on them, with the handler of a board. */

import type { IncomingHttpHeaders } from 'node:http';
import { asError } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';
import { parseBody, readBody } from './body.ts';
import type { BoardRequest } from './request.ts';
import type { Answer } from './responses.ts';

/** The code by which HTTP/2 asks for no more of a body, though all is well. */
const NO_ERROR = 0;
/** An answer has left by then. Node lets the end of a stream overtake what the stream has not sent yet. */
const END_STREAM_AFTER_MS = 1000;

/** What is needed of a request of `node:http` or `node:http2`. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
  /** All of it has come. */
  readonly complete: boolean;
  /** The whole path, where Express has removed the path of the mount from `url`. */
  readonly originalUrl?: string | undefined;
  /** The path of the mount, where Express has removed it. */
  readonly baseUrl?: string | undefined;
  /** The body, where a parser has read it already. */
  readonly body?: unknown;
  /** In HTTP/2: its stream. */
  readonly stream?: { close(code: number): void } | undefined;
  resume(): unknown;
  iterator(options: { readonly destroyOnReturn: boolean }): AsyncIterable<Uint8Array>;
}

/** What is needed of a response of `node:http` or `node:http2`. */
export interface NodeResponse {
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
  readonly writableFinished?: boolean | undefined;
  readonly destroyed: boolean;
  writeHead(status: number, headers: Record<string, string>): unknown;
  end(body: string): unknown;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/**
 * Answers one request, unless the host has answered it. Never rejects, because not every server awaits it.
 * @param handle - must not reject.
 * @param mount - the path under which the page is mounted; without it Express says it.
 */
export async function serveNode(
  handle: (request: BoardRequest) => Promise<Answer>,
  message: NodeRequest,
  response: NodeResponse,
  mount: string | undefined,
): Promise<void> {
  const answer = await handle(requestFrom(message, response, mount ?? message.baseUrl ?? ''));
  if (response.headersSent || response.writableEnded || response.destroyed) return;
  try {
    response.writeHead(answer.status, headersFor(answer, message));
    response.end(message.method === 'HEAD' ? '' : answer.body);
    if (!message.complete) endStream(message);
  } catch (error) {
    // A hook of the host has failed. Without an answer the client would wait for ever.
    warn('ONCE_BOARD_ANSWER', `the board could not answer a request: ${asError(error).message}`);
    response.destroy();
  }
}

function requestFrom(message: NodeRequest, response: NodeResponse, mount: string): BoardRequest {
  const { method = 'GET', originalUrl, url = '/', headers } = message;
  const [path = '', ...query] = (originalUrl ?? url).split('?');
  return {
    method,
    path,
    query: new URLSearchParams(query.join('?')),
    mount,
    header: name => headerOf(headers, name),
    body: () => bodyOf(message),
    gone: goneSignal(response),
  };
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  // HTTP/2 has ':authority' in the place of Host.
  const value = (name === 'host' ? headers[':authority'] : undefined) ?? headers[name];
  return typeof value === 'string' ? value : undefined;
}

async function bodyOf(message: NodeRequest): Promise<unknown> {
  const { body } = message;
  if (typeof body === 'string' || body instanceof Uint8Array) return parseBody(Buffer.from(body).toString());
  if (typeof body === 'object' && body !== null) return body;
  // A request that is destroyed has no socket any more, and loggers of the host ask for it.
  return readBody(message.iterator({ destroyOnReturn: false }), message.headers['content-length']);
}

function goneSignal(response: NodeResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort();
  });
  return controller.signal;
}

/** The rest of a body that was not read is not waited for: HTTP/1 ends the connection, HTTP/2 the stream. */
function headersFor({ headers }: Answer, { complete, stream }: NodeRequest): Record<string, string> {
  return complete || stream ? { ...headers } : { ...headers, connection: 'close' };
}

/** A stream that is not read would hold up the others of its connection. The rest of its body is thrown away until it is ended. */
function endStream(message: NodeRequest): void {
  const { stream } = message;
  if (!stream) return;
  message.resume();
  setTimeout(() => stream.close(NO_ERROR), END_STREAM_AFTER_MS).unref();
}
