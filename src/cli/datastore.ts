/** Which datastore the command line names. */

import type { Options } from './options.ts';
import { UsageError } from './usage-error.ts';

export type Datastore = RedisDatastore | PostgresDatastore;

export interface RedisDatastore {
  readonly redis: string;
  readonly cluster: boolean;
  /** BullMQ's prefix. */
  readonly prefix: string;
}

export interface PostgresDatastore {
  readonly postgres: string;
  readonly schema: string | undefined;
}

const DEFAULT_REDIS_URL = 'redis://127.0.0.1:6379';
const REDIS = { protocol: /^rediss?:$/, example: DEFAULT_REDIS_URL };
const POSTGRES = { protocol: /^postgres(ql)?:$/, example: 'postgres://127.0.0.1/app' };

/** @throws UsageError two datastores are named, or one is not named by a URL. */
export function parseDatastore(
  { redis, cluster, prefix, postgres, schema }: Options,
  { REDIS_URL }: { readonly REDIS_URL?: string | undefined },
): Datastore {
  if (redis !== undefined && postgres !== undefined) {
    throw new UsageError('give --redis or --postgres, not both');
  }
  if (postgres !== undefined) return { postgres: checkUrl(postgres, '--postgres', POSTGRES), schema };
  if (redis !== undefined) return { redis: checkUrl(redis, '--redis', REDIS), cluster, prefix };
  return { redis: checkUrl(REDIS_URL || DEFAULT_REDIS_URL, 'REDIS_URL', REDIS), cluster, prefix };
}

/** @throws UsageError it is no such URL. The message does not show it: it may contain a password. */
function checkUrl(url: string, option: string, { protocol, example }: typeof REDIS): string {
  if (URL.canParse(url) && protocol.test(new URL(url).protocol)) return url;
  throw new UsageError(`${option} must be a URL such as ${example}`);
}
