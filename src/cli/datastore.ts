/** Which datastore the command line names. */

import type { Options } from './options.ts';
import { UsageError } from './usage-error.ts';

export type Datastore = RedisDatastore | PostgresDatastore;

export interface RedisDatastore {
  readonly redis: string;
  readonly cluster: boolean;
}

export interface PostgresDatastore {
  readonly postgres: string;
  readonly schema: string | undefined;
}

/** What a URL of a datastore looks like. */
interface UrlForm {
  readonly scheme: RegExp;
  /** What may follow the host. */
  readonly path: RegExp;
  readonly example: string;
}

const DEFAULT_REDIS_URL = 'redis://127.0.0.1:6379';
const REDIS: UrlForm = { scheme: /^rediss?:\/\//i, path: /^\/?\d*$/, example: DEFAULT_REDIS_URL };
const POSTGRES: UrlForm = {
  scheme: /^postgres(ql)?:\/\//i,
  path: /^\/?[^/]*$/,
  example: 'postgres://127.0.0.1/app',
};

/** @throws UsageError two datastores are named, or one is not named by a URL. */
export function parseDatastore(
  { redis, cluster, postgres, schema }: Options,
  { REDIS_URL }: { readonly REDIS_URL?: string | undefined },
): Datastore {
  if (redis !== undefined && postgres !== undefined) {
    throw new UsageError('give --redis or --postgres, not both');
  }
  if (postgres !== undefined) return { postgres: checkUrl(postgres, '--postgres', POSTGRES), schema };
  if (redis !== undefined) return { redis: checkUrl(redis, '--redis', REDIS), cluster };
  return { redis: checkUrl(REDIS_URL || DEFAULT_REDIS_URL, 'REDIS_URL', REDIS), cluster };
}

/**
 * A URL that could be read in two ways is refused: a part of a password would count as a host, which errors name.
 * @throws UsageError it is no such URL. The message does not show it: it may contain a password.
 */
function checkUrl(given: string, option: string, { scheme, path, example }: UrlForm): string {
  const url = given.trim();
  const parsed = parseUrl(url);
  if (parsed && scheme.test(url) && path.test(parsed.pathname) && isClear(parsed)) return url;
  const hint =
    scheme.test(url) && url.includes('@')
      ? "; in a user name or password write '%', '@', '/', '?' and '#' as %25, %40, %2F, %3F and %23"
      : '';
  throw new UsageError(`${option} must be a URL such as ${example}${hint}`);
}

/** PostgreSQL's URLs may have no host, where a socket is meant: `postgres://user@/app?host=/run/postgresql`. */
export function parseUrl(url: string): URL | undefined {
  for (const attempt of [url, url.replace('@/', '@localhost/')]) {
    if (URL.canParse(attempt)) return new URL(attempt);
  }
  return undefined;
}

/** An `@` behind the host is one of a password that has a '/', '?' or '#' in it. */
function isClear({ pathname, search, hash }: URL): boolean {
  return !`${pathname}${search}${hash}`.includes('@');
}
