/** Boards behind each server that they are for. */

import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serve as serveHono } from '@hono/node-server';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { type Board, type BoardOptions, createBoard } from '../../src/board.ts';

interface Served {
  /** Where the page is, with a slash at its end. */
  readonly url: string;
  close(): unknown;
}

type Serve = (board: Board) => Promise<Served>;

const onHttp: Serve = board => listening(createServer(board.node).listen(0, '127.0.0.1'), '/');

export const SERVERS: Readonly<Record<string, Serve>> = {
  'node:http': onHttp,
  Express: board => {
    const app = express();
    app.use('/admin/locks', board.node);
    return listening(app.listen(0, '127.0.0.1'), '/admin/locks/');
  },
  'Express with a parser of bodies before it': board => {
    const app = express();
    app.use(express.json());
    app.use('/locks', board.node);
    return listening(app.listen(0, '127.0.0.1'), '/locks/');
  },
  Fastify: async board => {
    const app = fastify();
    await app.register(async scope => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
      scope.all('/locks*', (request, reply) => {
        reply.hijack();
        return board.node(request.raw, reply.raw);
      });
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    const served = await listening(app.server, '/locks/');
    return { ...served, close: () => app.close() };
  },
  Hono: board => {
    const app = new Hono();
    app.all('/locks/*', c => board.fetch(c.req.raw));
    app.all('/locks', c => board.fetch(c.req.raw));
    return listening(serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server, '/locks/');
  },
};

async function listening(server: Server, path: string): Promise<Served> {
  if (!server.listening) await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
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
  serve: Serve = onHttp,
): Promise<void> {
  const board = createBoard(options);
  const served = await serve(board);
  try {
    await use(served.url);
  } finally {
    await served.close();
    board.close();
  }
}

/** What the page is given to show. */
export async function shownBy(board: Board): Promise<any> {
  return (await board.fetch(new Request('http://localhost/api/locks'))).json();
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
