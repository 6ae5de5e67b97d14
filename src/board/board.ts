/**
 * bullmq-once/board: a small web page that shows who holds which lock, since when and for how long, and how many duplicates
 * there were. Mount it beside Bull Board, behind whatever guards that.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type LockInfo, type Locks, locks, type QueueLike } from '../admin/lock-admin.ts';
import type { Cache } from '../cache/registry.ts';
import { FATES, type LockEvent } from '../events/events.ts';
import { checkFlag } from '../lock/options.ts';
import { page, SCRIPT, STYLE } from './assets.ts';
import { Fates } from './fates.ts';
import { serve } from './node.ts';

/** Options of {@link createBoard}. */
export interface BoardOptions {
  /** The queues whose locks are shown, wherever these are kept. */
  readonly queues?: readonly QueueLike[];
  /** Caches all of whose locks are shown, by names of your own. */
  readonly caches?: Readonly<Record<string, Cache>>;
  /**
   * `true`: nobody can let go of a lock here.
   * @defaultValue false
   */
  readonly readOnly?: boolean;
  /** @defaultValue 'Locks' */
  readonly title?: string;
}

/** A page, for any server. */
export interface Board {
  /** For Hono, Bun, Deno and whatever else speaks `Request` and `Response`. Mount it under any path. */
  fetch(request: Request): Promise<Response>;
  /** For `node:http`, Express and, with the raw request and reply, Fastify. Mount it under any path. */
  node(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /**
   * Counts an event of a lock. Those of this process are counted by themselves: this is for those that an `onEvent` elsewhere
   * has sent here.
   */
  record(event: Pick<LockEvent, 'type'>): void;
  /** Counts no more. The board holds nothing else. */
  close(): void;
}

/** What the page asks for and shows. */
interface Shown {
  readonly title: string;
  readonly readOnly: boolean;
  readonly now: number;
  readonly locks: readonly (LockInfo & { readonly source: string })[];
  /** There are more locks than are shown. */
  readonly isCut: boolean;
  readonly fates: ReturnType<Fates['counts']>;
  readonly problems: readonly string[];
}

/** So many locks are shown. */
const MOST_SHOWN = 500;
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'self'",
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
};

/**
 * Makes a page that shows locks.
 *
 * A release needs a POST from the page itself (`Sec-Fetch-Site` or `Origin` says so). Who may see the page at all is yours to
 * decide, where you mount it.
 *
 * @throws TypeError there is nothing to show, or an option has a wrong value.
 * @example
 * ```ts
 * const board = createBoard({ queues: [emails] });
 * app.use('/locks', board.node); // Express
 * ```
 */
export function createBoard(options: BoardOptions): Board {
  const { queues = [], caches = {}, readOnly = false, title = 'Locks' } = options;
  checkFlag(readOnly, 'createBoard', 'readOnly');
  const sources = new Map<string, Locks>();
  for (const queue of queues) sources.set(queue.qualifiedName, locks(queue));
  for (const [name, cache] of Object.entries(caches)) sources.set(name, locks(cache));
  if (sources.size === 0) {
    throw new TypeError("createBoard: there is nothing to show; give it 'queues' or 'caches'");
  }

  const fates = new Fates();
  const count = (event: unknown) => fates.count((event as LockEvent).type);
  for (const type of FATES) subscribe(`bullmq-once:${type}`, count);

  async function look(): Promise<Shown> {
    const found: Shown['locks'][number][] = [];
    const problems: string[] = [];
    for (const [source, of] of sources) {
      try {
        for await (const info of of.list()) {
          if (found.length > MOST_SHOWN) break;
          found.push({ ...info, source });
        }
      } catch (error) {
        problems.push(`${source}: ${(error as Error).message}`);
      }
    }
    const shown = found.slice(0, MOST_SHOWN).sort((a, b) => a.since - b.since);
    const isCut = found.length > MOST_SHOWN;
    return { title, readOnly, now: Date.now(), locks: shown, isCut, fates: fates.counts(), problems };
  }

  async function release(request: Request): Promise<Response> {
    if (readOnly) return json(403, { problem: 'this page is read-only' });
    if (!isSameOrigin(request)) return json(403, { problem: 'a release must come from this page' });
    const asked = await bodyOf(request);
    const of = sources.get(String(asked.source));
    if (!of || typeof asked.storedKey !== 'string')
      return json(400, { problem: 'it does not say which lock' });
    for await (const info of of.list()) {
      if (info.storedKey !== asked.storedKey) continue;
      // Whoever clicked has seen another holder.
      if (info.fence !== asked.fence) return json(409, { problem: 'another holds it by now' });
      return (await of.evict(info))
        ? json(200, { released: true })
        : json(409, { problem: 'it was no longer held' });
    }
    return json(409, { problem: 'it was no longer held' });
  }

  async function handle(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (pathname.endsWith('/api/release')) {
      return request.method === 'POST' ? release(request) : json(405, { problem: 'POST it' });
    }
    if (!isRead) return json(405, { problem: 'there is nothing to change here' });
    if (pathname.endsWith('/api/locks')) return json(200, await look());
    if (pathname.endsWith('/board.js')) return text(SCRIPT, 'text/javascript');
    if (pathname.endsWith('/board.css')) return text(STYLE, 'text/css');
    // The page finds its files beside it.
    if (!pathname.endsWith('/')) {
      const location = `${pathname.slice(pathname.lastIndexOf('/') + 1)}/`;
      return new Response(null, { status: 302, headers: { ...HEADERS, location: `./${location}` } });
    }
    return text(page(title), 'text/html');
  }

  const fetch = async (request: Request): Promise<Response> => {
    try {
      return await handle(request);
    } catch (error) {
      return json(500, { problem: (error as Error).message });
    }
  };
  return {
    fetch,
    node: (request, response) => serve(fetch, request, response),
    record: ({ type }) => fates.count(type),
    close() {
      for (const type of FATES) unsubscribe(`bullmq-once:${type}`, count);
    },
  };
}

/**
 * Whether a page of this very origin has sent it. Browsers tell by `Sec-Fetch-Site`, and over plain HTTP by `Origin`.
 * @see https://owasp.org/www-community/attacks/csrf
 */
function isSameOrigin({ headers }: Request): boolean {
  const site = headers.get('sec-fetch-site');
  if (site !== null) return site === 'same-origin';
  const origin = headers.get('origin');
  return origin !== null && URL.canParse(origin) && new URL(origin).host === headers.get('host');
}

async function bodyOf(request: Request): Promise<Record<string, unknown>> {
  try {
    return Object(await request.json());
  } catch {
    return {};
  }
}

function json(status: number, body: object): Response {
  const headers = { ...HEADERS, 'content-type': 'application/json; charset=utf-8' };
  // What never ends is not in JSON.
  return new Response(
    JSON.stringify(body, (_, value) => (value === Number.POSITIVE_INFINITY ? undefined : value)),
    { status, headers },
  );
}

function text(body: string, type: string): Response {
  return new Response(body, { headers: { ...HEADERS, 'content-type': `${type}; charset=utf-8` } });
}
