/** Boards behind each server that they are for. */

import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, request as requestHttp, type Server } from 'node:http';
import type { AddressInfo, Server as NetServer } from 'node:net';
import { serve as serveHono } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { type Board, type BoardOptions, createBoard } from '../../src/board.ts';
import { type LockRecord, MemoryCache } from '../../src/index.ts';
import { type Deferred, deferred } from '../support/index.ts';

interface Served {
  /** Where the page is, with a slash at its end. */
  readonly url: string;
  close(): unknown;
}

interface Host {
  /** The option of the board, where the server does not say its mount. */
  readonly basePath?: string;
  serve(board: Board): Promise<Served>;
}

const NODE_HTTP: Host = {
  serve: board => listening(createServer(board.node).listen(0, '127.0.0.1'), '/'),
};

export const SERVERS: Readonly<Record<string, Host>> = {
  'node:http': NODE_HTTP,
  Express: {
    serve: board => {
      const app = express();
      app.use('/admin/locks', board.node);
      return listening(app.listen(0, '127.0.0.1'), '/admin/locks/');
    },
  },
  'Express with a router, a parser of bodies before it, and the path in an option': {
    basePath: '/admin/locks/',
    serve: behindBodyParser,
  },
  'Express with a parser of bodies before it': {
    serve: behindBodyParser,
  },
  Fastify: {
    basePath: '/locks',
    serve: async board => {
      const app = fastify();
      app.all('/locks*', (request, reply) => {
        reply.hijack();
        return board.node(Object.assign(request.raw, { body: request.body }), reply.raw);
      });
      await app.listen({ port: 0, host: '127.0.0.1' });
      const served = await listening(app.server, '/locks/');
      return { ...served, close: () => app.close() };
    },
  },
  Hono: {
    basePath: '/locks',
    serve: board => {
      const app = new Hono();
      app.all('/locks/*', c => board.fetch(c.req.raw));
      return listening(serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server, '/locks/');
    },
  },
};

/** The port of a server that has begun to listen. */
export async function portOf(server: NetServer): Promise<number> {
  if (!server.listening) await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A cache whose list is held up until the test lets it go on. */
export function heldUpCache(): { cache: MemoryCache; isListing: Deferred<void>; mayList: Deferred<void> } {
  const isListing = deferred();
  const mayList = deferred();
  const cache = new MemoryCache();
  const list = cache.list.bind(cache);
  Object.assign(cache, {
    async *list(prefix: string): AsyncIterable<LockRecord> {
      isListing.resolve();
      await mayList.promise;
      yield* list(prefix);
    },
  });
  return { cache, isListing, mayList };
}

/** The bodies of requests have been read when they reach the board. */
function behindBodyParser(board: Board): Promise<Served> {
  const app = express();
  const router = express.Router();
  app.use(express.json());
  app.use('/admin', router.use('/locks', board.node));
  return listening(app.listen(0, '127.0.0.1'), '/admin/locks/');
}

async function listening(server: Server, path: string): Promise<Served> {
  const port = await portOf(server);
  return {
    url: `http://127.0.0.1:${port}${path}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Serves a board while it is used. */
export async function withBoard(
  options: BoardOptions,
  use: (url: string) => Promise<void>,
  { basePath, serve }: Host = NODE_HTTP,
): Promise<void> {
  const board = createBoard(basePath === undefined ? options : { basePath, ...options });
  const served = await serve(board);
  try {
    await use(served.url);
  } finally {
    await served.close();
    board.close();
  }
}

/** What the page is given to show. */
export async function shownBy(board: Board, query: Record<string, string> = {}): Promise<any> {
  const url = `http://localhost/api/locks?${new URLSearchParams(query)}`;
  return (await board.fetch(new Request(url))).json();
}

/** Asks a board for a force release, as its page does. */
export function askForceRelease(
  board: Board,
  { source, storedKey, fence }: { source: string; storedKey: string; fence: number },
): Promise<Response> {
  return board.fetch(
    new Request('http://localhost/api/force-release', {
      method: 'POST',
      headers: { 'sec-fetch-site': 'same-origin' },
      body: JSON.stringify({ source, storedKey, fence }),
    }),
  );
}

export interface Received {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Sends a request as it is: `fetch` would tidy its path, and has a Host of its own. */
export function sendAsIs(
  url: string,
  {
    method = 'GET',
    path = new URL(url).pathname,
    headers = {},
    body,
  }: {
    method?: string;
    path?: string;
    headers?: Readonly<Record<string, string>>;
    body?: string;
  },
): Promise<Received> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const sent = requestHttp({ hostname, port, path, method, headers, agent: false }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', chunk => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, headers: response.headers, body: text }),
      );
    });
    sent.on('error', reject).end(body);
  });
}

/** Asks a served board for a force release. The headers say where the request comes from. */
export function postForceRelease(
  url: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
): Promise<Response> {
  return fetch(`${url}api/force-release`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}
