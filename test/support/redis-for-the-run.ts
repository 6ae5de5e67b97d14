/** Finds one Redis for all tests of a run; those that break servers start their own. */

import { disconnectAll } from './index.ts';
import { type FoundRedis, findRedis } from './redis-server.ts';
import { stopSharedServers } from './shared-servers.ts';

export const mochaHooks: { afterAll(): Promise<void> } = {
  async afterAll() {
    disconnectAll();
    await stopSharedServers();
  },
};

let found: FoundRedis | undefined;

export async function mochaGlobalSetup(): Promise<void> {
  found = await findRedis();
  process.env.TEST_REDIS_URL = found.url;
  console.error(`Redis: ${found.source}`);
}

export async function mochaGlobalTeardown(): Promise<void> {
  await found?.stop();
}
