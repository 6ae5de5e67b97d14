/**
 * A web page that shows who holds which lock, for how long, and what became of duplicates. Mount it beside Bull Board,
 * behind the same access control.
 */

import { createHandler } from './handler.ts';
import { type BoardOptions, parseBoardOptions } from './options.ts';
import { serveFetch } from './serve-fetch.ts';
import { type NodeRequest, type NodeResponse, serveNode } from './serve-node.ts';
import { Viewers } from './viewers.ts';

/** A page, for any server. */
export interface Board {
  /**
   * For Hono, Bun, Deno and any other server of `Request` and `Response`. Under another path than `/` it needs the option
   * `basePath`. It never rejects.
   */
  fetch(request: Request): Promise<Response>;
  /**
   * For `node:http`, `node:http2`, Express and, with the raw request and reply, Fastify. Express says where it is mounted;
   * elsewhere it needs the option `basePath` under another path than `/`. A body that was parsed before is taken from the
   * request's `body`. It never rejects, and leaves alone what was answered already.
   */
  node(request: NodeRequest, response: NodeResponse): Promise<void>;
  /** Stops looking at datastores. The board has no connection of its own, and keeps no process alive. */
  close(): void;
}

/**
 * Creates a page that shows locks and, with `allowForceRelease: true`, can release them by force.
 *
 * A force release must be a POST from the page itself (`Sec-Fetch-Site` or `Origin` says so), under one of its `hosts`. The board
 * does not authenticate anyone: restrict access where you mount it.
 *
 * @throws TypeError there is nothing to show, or an option is unknown or has a wrong value.
 * @example
 * ```ts
 * const board = createBoard({ queues: [emails] });
 * app.use('/locks', board.node); // Express
 * ```
 */
export function createBoard(options: BoardOptions): Board {
  const parsed = parseBoardOptions(options);
  const viewers = new Viewers();
  const handle = createHandler(parsed, viewers);
  return {
    fetch: request => serveFetch(handle, request, parsed.mount),
    node: (request, response) => serveNode(handle, request, response, parsed.mount),
    close: () => viewers.close(),
  };
}
