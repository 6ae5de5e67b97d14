/** A renewal that fails is sent again for as long as the lease is safe: a dropped connection loses no lease. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { Lock, type LockEvent } from '../../src/index.ts';
import { TcpProxy } from '../faults/tcp-proxy.ts';
import { uniqueName } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { CLIENTS } from './redis-clients.ts';

const TTL = 3000;

describe('A lease whose renewal is under way when its connection is cut', () => {
  let server: RedisServer;
  after(() => server.stop());

  const outcomes = new Map<string, { isHeld: boolean; lost: unknown[] }>();
  before(async () => {
    server = await RedisServer.start();
    await Promise.all(
      Object.entries(CLIENTS).map(async ([name, open]) => {
        const proxy = await TcpProxy.start(server.port);
        const client = await open(proxy.port);
        const events: LockEvent[] = [];
        const onEvent = (event: LockEvent) => events.push(event);
        const handle = await new Lock(uniqueName('k'), { cache: client.cache, ttl: TTL, onEvent }).acquire();
        // The renewal is due after a third of the ttl, and is stuck on its way by then.
        await delay(TTL / 4);
        proxy.stall();
        await delay(TTL / 4);

        proxy.cut();
        proxy.repair();
        await delay(TTL);
        const lost = events.filter(({ type }) => type === 'lost');
        outcomes.set(name, { isHeld: handle.held, lost });
        // It may have no answer, ever.
        void handle.release();
        await client.close();
        await proxy.stop();
      }),
    );
  });

  for (const name of Object.keys(CLIENTS)) {
    it(`is renewed on the next connection, and stays held (${name})`, () => {
      expect(outcomes.get(name)).to.deep.equal({ isHeld: true, lost: [] });
    });
  }
});
