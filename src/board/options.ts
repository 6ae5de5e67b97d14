/** The options of a board. */

import { cacheOf, isQueue, locksOf, type QueueLike } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import { type Cache, toLockCache } from '../cache/registry.ts';
import { flag, optional, type Parser, parseOptions, show, text, withDefault } from '../core/validation.ts';
import { queueName } from '../key/stored-name.ts';
import { DatastoreLooks } from './datastore-look.ts';
import { type JobUrl, jobUrl, noJobUrl } from './job-url.ts';
import { Source } from './source.ts';
import { type TrustsHost, trustedHosts, trustsLocalHosts } from './trusted-hosts.ts';

/** Options of {@link createBoard}. At least one queue or one cache is needed. */
export interface BoardOptions {
  /**
   * The queues whose locks are shown, in whichever cache these are. Where two queues have one name, as in two datastores, the
   * second is shown as `bull:emails (2)`.
   * @defaultValue none
   * @throws TypeError it is not an array of BullMQ queues.
   */
  readonly queues?: readonly QueueLike[];
  /**
   * Caches by names of your choice. All locks in them are shown.
   * @defaultValue none
   * @throws TypeError it is not an object of caches.
   */
  readonly caches?: Readonly<Record<string, Cache>>;
  /**
   * `true`: the page can release locks by force. Restrict access to it first, as for anything that changes data.
   * @defaultValue false: the page shows locks, and a request for a force release is refused
   * @throws TypeError it is not a boolean.
   */
  readonly allowForceRelease?: boolean;
  /**
   * The hosts under which the page is served, as browsers send them in `Host`: `'ops.example.com'` with any port,
   * `'localhost:3000'` with this one. Requests with another Host get no locks and release none, so that no foreign page can reach
   * the board by a name of its own (DNS rebinding). What is given replaces the default. If a proxy changes the header, name what
   * the proxy sends.
   * @defaultValue `localhost`, names that end with `.localhost`, and IP addresses
   * @throws TypeError it is not an array of hosts, or is empty.
   */
  readonly hosts?: readonly string[];
  /**
   * The path under which the page is mounted: `'/locks'`. Paths are compared exactly, and any other path is not found.
   * @defaultValue on Express the path of `app.use(path, board.node)`, elsewhere '/'
   * @throws TypeError it does not begin with a slash, or has an empty segment, a query or a fragment.
   */
  readonly basePath?: string;
  /**
   * The address of a job on another page, with `{queue}` and `{id}`: `'/admin/queues/queue/{queue}/{id}'` where Bull Board is mounted under
   * `/admin/queues`. The page links to holders and duplicates there.
   * @defaultValue no links
   * @throws TypeError it is no address, or lacks `{queue}` or `{id}`.
   */
  readonly jobUrl?: string;
  /**
   * The heading of the page.
   * @defaultValue 'Locks'
   * @throws TypeError it is not a string, or is empty.
   */
  readonly title?: string;
}

/** {@link BoardOptions}, parsed. */
export interface ParsedBoardOptions {
  /** The queues and caches whose locks are shown, by their labels. */
  readonly sources: ReadonlyMap<string, Source>;
  readonly allowForceRelease: boolean;
  readonly trustsHost: TrustsHost;
  /** Without a slash at its end: `/locks`; empty at the root. */
  readonly mount: string | undefined;
  readonly jobUrl: JobUrl;
  readonly title: string;
}

/** @throws TypeError there is nothing to show, or an option is unknown or has a wrong value. */
export function parseBoardOptions(options: BoardOptions): ParsedBoardOptions {
  const { queues, caches, hosts, basePath, ...others } = parseOptions('createBoard', options, OPTIONS);
  const sources = new Map<string, Source>();
  const datastores = new DatastoreLooks();
  for (const queue of new Set(queues)) {
    const label = uniqueLabel(queue.qualifiedName, sources);
    const prefix = queueName(queue.qualifiedName, '');
    const locks = { admin: locksOf(queue), findCache: () => cacheOf(queue), prefix, datastores };
    sources.set(label, new Source(label, locks, { queueName: queue.name }));
  }
  for (const [name, cache] of caches) {
    const label = uniqueLabel(name, sources);
    const locks = { admin: locksOf(cache), findCache: async () => cache, prefix: '', datastores };
    sources.set(label, new Source(label, locks, { queueName: undefined }));
  }
  if (sources.size > 0) return { sources, trustsHost: hosts, mount: basePath, ...others };
  throw new TypeError("createBoard: there is nothing to show; give it 'queues' or 'caches'");
}

/** Two queues in two datastores may have one name: `bull:emails`, `bull:emails (2)`. */
function uniqueLabel(name: string, sources: ReadonlyMap<string, Source>): string {
  let label = name;
  for (let i = 2; sources.has(label); i++) label = `${name} (${i})`;
  return label;
}

const queueList: Parser<readonly QueueLike[]> = (value, option) => {
  if (!Array.isArray(value))
    throw new TypeError(
      `${option} must be an array of queues, not ${isQueue(value) ? 'a queue; write [queue]' : show(value)}`,
    );
  for (const queue of value) {
    if (isQueue(queue)) continue;
    throw new TypeError(`${option} must hold BullMQ queues only, not ${show(queue)}`);
  }
  return value;
};

const namedCaches: Parser<ReadonlyMap<string, LockCache>> = (value, option) => {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`${option} must be an object with a cache for each name, not ${show(value)}`);
  }
  const entries = Object.entries(value);
  return new Map(entries.map(([name, cache]) => [name, toLockCache(cache, `${option}, '${name}'`)]));
};

/** Takes `'/locks'` and `'/locks/'`, and gives `'/locks'`. */
const mountPath: Parser<string> = (value, option) => {
  if (typeof value === 'string' && /^(?:\/[^/\s?#]+)*\/?$/.test(value) && value !== '') {
    return value.replace(/\/$/, '');
  }
  throw new TypeError(`${option} must be a path such as '/' or '/admin/locks', not ${show(value)}`);
};

const OPTIONS = {
  queues: withDefault([], queueList),
  caches: withDefault(new Map(), namedCaches),
  allowForceRelease: withDefault(false, flag),
  hosts: withDefault(trustsLocalHosts, trustedHosts),
  basePath: optional(mountPath),
  jobUrl: withDefault(noJobUrl, jobUrl),
  title: withDefault('Locks', text),
};
