/**
 * Finds the Redis of a run. In parallel each of mocha's processes has one of its own, so that no test sees the commands of another
 * file's. Tests that break servers start their own.
 */

import { disconnectAll } from './index.ts';
import { type FoundRedis, findRedis } from './redis-server.ts';
import { stopSharedServers } from './shared-servers.ts';

/** Mocha numbers its processes where it runs files in parallel. */
const isParallel = process.env.MOCHA_WORKER_ID !== undefined;

let found: FoundRedis | undefined;

async function start(): Promise<FoundRedis> {
  found ??= await findRedis();
  process.env.TEST_REDIS_URL = found.url;
  return found;
}

/** Called once for a run, or, in parallel, for each file. */
export const mochaHooks: { beforeAll(): Promise<void>; afterAll(): Promise<void> } = {
  async beforeAll() {
    if (isParallel) await start();
  },
  async afterAll() {
    disconnectAll();
    // In parallel they serve the next file of this process; they end with it.
    if (!isParallel) await stopSharedServers();
  },
};

export async function mochaGlobalSetup(): Promise<void> {
  const { source } = await start();
  console.error(`Redis: ${source}`);
}

export async function mochaGlobalTeardown(): Promise<void> {
  await found?.stop();
}
