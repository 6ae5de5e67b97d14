/** What a lease's steps do when the cache never answers them: some clients drop what was under way with their connection. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import sinon from 'sinon';
import { Emitter } from '../../src/events/emitter.ts';
import { Lock, type LockEvent } from '../../src/index.ts';
import { Lease } from '../../src/lock/lease.ts';
import type { LeaseRenewer } from '../../src/lock/lease-renewer.ts';
import { TcpProxy } from '../faults/tcp-proxy.ts';
import { type Deferred, deferred, uniqueName, until } from '../support/index.ts';
import { leaseTerms } from '../support/lease-terms.ts';
import { RedisServer } from '../support/redis-server.ts';
import { openIoredis } from './redis-clients.ts';
import { renewerOnFakeClock, type ScriptedCache } from './scripted-cache.ts';

describe('A step without an answer', () => {
  let clock: sinon.SinonFakeTimers;
  let cache: ScriptedCache;
  let renewer: LeaseRenewer;
  let events: LockEvent[];
  let lease: Lease;
  beforeEach(async () => {
    ({ clock, cache, renewer } = renewerOnFakeClock());
    events = [];
    lease = new Lease(leaseTerms({ ttl: 1200, emitter: new Emitter(event => events.push(event)) }));
    await renewer.acquire(lease);
  });
  afterEach(() => sinon.restore());

  const typesOf = () => events.map(({ type }) => type);

  /** The verb's calls, each of which the test answers. */
  function answerByHand(verb: 'release' | 'renew'): Deferred<boolean | Error>[] {
    const calls: Deferred<boolean | Error>[] = [];
    cache[verb] = async steps => {
      const call = deferred<boolean | Error>();
      calls.push(call);
      const answer = await call.promise;
      return steps.map(() => answer);
    };
    return calls;
  }

  it('is sent again after a twelfth of the ttl, then less and less often, for as long as the lease is safe', async () => {
    const calls = answerByHand('release');
    const released = renewer.release(lease, 0);
    const counts: number[] = [];
    for (const ms of [99, 1, 199, 1, 399, 1, 10_000]) {
      await clock.tickAsync(ms);
      counts.push(calls.length);
    }

    expect(counts).to.deep.equal([1, 2, 2, 3, 3, 4, 4]);
    expect(await released).to.equal(false);
    expect(clock.countTimers()).to.equal(0);
  });

  it('counts its first answer alone, and leaves no timer behind', async () => {
    const calls = answerByHand('release');
    const released = renewer.release(lease, 0);
    await clock.tickAsync(150);

    calls[1]?.resolve(true);
    await clock.tickAsync(0);
    calls[0]?.resolve(false);
    await clock.tickAsync(10_000);

    expect(await released).to.equal(true);
    expect(calls).to.have.length(2);
    expect(typesOf()).to.deep.equal(['acquired', 'released']);
    expect(clock.countTimers()).to.equal(0);
  });

  it('counts as done, and not as lost, if a later try finds nothing to do', async () => {
    const calls = answerByHand('release');
    const released = renewer.release(lease, 0);
    await clock.tickAsync(150);

    calls[1]?.resolve(false);

    expect(await released).to.equal(true);
    expect(typesOf()).to.deep.equal(['acquired', 'released']);
  });

  it('is not sent more often because an earlier try fails while a later one is under way', async () => {
    const calls = answerByHand('release');
    const released = renewer.release(lease, 0);
    await clock.tickAsync(150);
    calls[0]?.resolve(new Error('the connection was closed'));
    await clock.tickAsync(50);
    const before = calls.length;
    calls[1]?.resolve(new Error('the connection was closed'));
    await clock.tickAsync(5);
    calls[2]?.resolve(true);

    expect(await released).to.equal(true);
    expect([before, calls.length]).to.deep.equal([2, 3]);
  });

  it('loses no lease that it has left to its owner (a reservation is sent again)', async () => {
    const calls = answerByHand('release');
    const left = renewer.release(lease, 0, { reservation: { dueIn: 0, lastsFor: 60_000 } });
    await clock.tickAsync(150);

    calls[1]?.resolve(false);
    await left;

    expect(typesOf()).to.deep.equal(['acquired', 'reserved']);
  });

  it('is sent again before the time of the lease is over (a renewal)', async () => {
    const calls = answerByHand('renew');
    await clock.tickAsync(650);
    calls[1]?.resolve(true);
    await clock.tickAsync(0);
    const { safeUntil } = lease;
    calls[0]?.resolve(true);
    await clock.tickAsync(0);

    expect(calls).to.have.length(2);
    expect(safeUntil, 'counted from the second').to.equal(1000 + 600 + 0.9 * 1200);
    expect(lease.safeUntil, 'not shortened by the first').to.equal(safeUntil);
  });
});

describe('A client that never answers what was under way when its connection dropped', () => {
  const TTL = 12_000;
  const LOCKS = 20;
  let server: RedisServer;
  before(async () => {
    server = await RedisServer.start();
  });
  after(() => server.stop());

  const faults: Readonly<Record<string, (proxy: TcpProxy) => Promise<void>>> = {
    'it was not executed'(proxy) {
      proxy.stall();
      return delay(20).then(() => {
        proxy.cut();
        proxy.repair();
      });
    },
    'it was executed, and its reply got lost'(proxy) {
      proxy.loseReplies();
      return delay(20).then(() => proxy.repair());
    },
    'its reply got lost, and the connection seems to live for a while'(proxy) {
      proxy.loseReplies();
      return delay(TTL / 6).then(() => proxy.repair());
    },
  };
  for (const [what, fail] of Object.entries(faults)) {
    it(`holds no key for longer than a fraction of the ttl (a release is under way: ${what})`, async () => {
      const proxy = await TcpProxy.start(server.port);
      const client = await openIoredis({ autoResendUnfulfilledCommands: false })(proxy.port);
      const events: LockEvent[] = [];
      const onEvent = (event: LockEvent) => events.push(event);
      const handles = await Promise.all(
        Array.from({ length: LOCKS }, () =>
          new Lock(uniqueName('k'), { cache: client.cache, ttl: TTL, onEvent }).acquire(),
        ),
      );
      const count = (type: string) => events.filter(event => event.type === type).length;

      const repaired = fail(proxy);
      const released = Promise.all(handles.map(handle => handle.release()));
      await until(
        async () => ((await server.call('KEYS', 'once::1:*')) as string[]).length === 0,
        'all keys are free',
        TTL / 3,
      );
      await repaired;

      expect(await released).to.deep.equal(handles.map(() => true));
      expect([count('released'), count('lost')]).to.deep.equal([LOCKS, 0]);
      client.close();
      await proxy.stop();
    });
  }
});
