/**
 * A web page that shows who holds which lock, for how long, and how many duplicates there were. Mount it beside Bull Board,
 * behind the same access control.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { channelOf } from '../events/emitter.ts';
import { type LockEvent, OUTCOMES } from '../events/events.ts';
import { createHandler } from './handler.ts';
import { type BoardOptions, parseBoardOptions } from './options.ts';
import { OutcomeCounts } from './outcome-counts.ts';
import { serveNode } from './serve-node.ts';

/** A page, for any server. */
export interface Board {
  /** For Hono, Bun, Deno and any other server of `Request` and `Response`. Mount it under any path. It never rejects. */
  fetch(request: Request): Promise<Response>;
  /** For `node:http`, Express and, with the raw request and reply, Fastify. Mount it under any path. It never rejects. */
  node(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /**
   * Counts the event of a duplicate in another process. Those of this process are counted without it; events of other types
   * are ignored.
   */
  record(event: Pick<LockEvent, 'type'>): void;
  /** Stops counting. The board has no timer and no connection of its own. */
  close(): void;
}

/**
 * Creates a page that shows locks, and can release them by force.
 *
 * A force release must be a POST from the page itself (`Sec-Fetch-Site` or `Origin` says so). The board does not
 * authenticate anyone: restrict access where you mount it.
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
  const outcomes = new OutcomeCounts();
  const count = (event: unknown) => outcomes.count((event as LockEvent).type);
  for (const outcome of OUTCOMES) subscribe(channelOf(outcome), count);
  const fetch = createHandler(parsed, outcomes);
  return {
    fetch,
    node: (request, response) => serveNode(fetch, request, response),
    record: ({ type }) => outcomes.count(type),
    close() {
      for (const outcome of OUTCOMES) unsubscribe(channelOf(outcome), count);
    },
  };
}
