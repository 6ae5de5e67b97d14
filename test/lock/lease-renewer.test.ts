import { fork } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import sinon from 'sinon';
import { foreignRecord } from '../../src/cache/lock-rules.ts';
import { CacheError, LockLostError } from '../../src/core/errors.ts';
import { Lease } from '../../src/lock/lease.ts';
import type { LeaseRenewer } from '../../src/lock/lease-renewer.ts';
import { deferred, rejection } from '../support/index.ts';
import { leaseTerms } from '../support/lease-terms.ts';
import { renewerOnFakeClock, type ScriptedCache } from './scripted-cache.ts';

describe('LeaseRenewer', () => {
  let clock: sinon.SinonFakeTimers;
  let cache: ScriptedCache;
  let renewer: LeaseRenewer;

  beforeEach(() => {
    ({ clock, cache, renewer } = renewerOnFakeClock());
  });
  afterEach(() => sinon.restore());

  const leaseOf = (key = 'k', ttl = 900, maxHold = Number.POSITIVE_INFINITY) =>
    new Lease(leaseTerms({ storedKey: key, key, ttl, maxHold }));
  const acquire = async (key?: string, ttl?: number, maxHold?: number) => {
    const lease = leaseOf(key, ttl, maxHold);
    await renewer.acquire(lease);
    return lease;
  };

  describe('renewing', () => {
    it('renews a lease at a third of its ttl, for as long as it is held', async () => {
      const lease = await acquire();

      await clock.tickAsync(299);
      const early = cache.renewals.length;
      await clock.tickAsync(1);
      const first = cache.renewals.length;
      await clock.tickAsync(3000);
      const later = cache.renewals.length;

      expect([early, first, later]).to.deep.equal([0, 1, 11]);
      expect(lease.signal.aborted).to.equal(false);
    });

    it('does not renew a lease that was released', async () => {
      const lease = await acquire();
      await clock.tickAsync(3300);
      const before = cache.renewals.length;

      await renewer.release(lease, 0);
      await clock.tickAsync(3000);

      expect(before).to.equal(11);
      expect(cache.renewals).to.have.length(before);
      expect(lease.signal.aborted).to.equal(false);
    });

    it('renews all leases that are due in one batch, with one timer', async () => {
      for (let i = 0; i < 50; i++) await acquire(`k${i}`);

      expect(clock.countTimers()).to.equal(1);
      await clock.tickAsync(300);

      expect(cache.batches.filter(([verb]) => verb === 'renew')).to.deep.equal([['renew', 50]]);
      expect(clock.countTimers()).to.equal(1);
    });

    it('renews at most four thousand leases in a turn of the event loop, so that work goes on in between', async () => {
      const leases = await Promise.all(Array.from({ length: 10_000 }, (_, i) => acquire(`k${i}`)));
      cache.batches.length = 0;

      await clock.tickAsync(310);

      expect(cache.batches).to.deep.equal([
        ['renew', 4000],
        ['renew', 4000],
        ['renew', 2000],
      ]);
      expect(new Set(cache.renewals).size).to.equal(10_000);
      await clock.tickAsync(5000);
      expect(leases.every(({ held }) => held)).to.equal(true);
    });

    it('has no timer (nothing is held)', async () => {
      const lease = await acquire();
      await renewer.release(lease, 0);
      await clock.tickAsync(1000);

      expect(clock.countTimers()).to.equal(0);
    });

    it('repeats a renewal that failed, and the lease stays held when it succeeds', async () => {
      const { signal } = await acquire();
      cache.renewAnswer = new Error('busy');

      await clock.tickAsync(400);
      cache.renewAnswer = true;
      await clock.tickAsync(2000);

      expect(cache.renewals.length).to.be.within(4, 12);
      expect(signal.aborted).to.equal(false);
    });

    it('counts a renewal from before it was sent', async () => {
      const lease = await acquire();
      cache.stuck = deferred();
      await clock.tickAsync(400);
      cache.stuck.resolve();
      await clock.tickAsync(0);

      expect(lease.safeUntil).to.equal(lease.ttl * 0.9 + 1000 + 300);
    });
  });

  describe('acquiring', () => {
    it('acquires and releases in one batch what one turn of the event loop asks for', async () => {
      const leases = await Promise.all([acquire('a'), acquire('b'), acquire('c')]);
      await Promise.all(leases.map(lease => renewer.release(lease, 0)));

      expect(cache.batches).to.deep.equal([
        ['acquire', 3],
        ['release', 3],
      ]);
    });

    it('counts a lease from before its request was sent', async () => {
      cache.stuck = deferred();
      const lease = leaseOf();
      const acquired = renewer.acquire(lease);
      await clock.tickAsync(700);
      cache.stuck.resolve();
      await acquired;
      const { signal } = lease;
      cache.stuck = deferred();

      await clock.tickAsync(150);

      expect(signal.reason).to.include({ code: 'ERR_LOCK_LOST' });
    });

    it('fails with a CacheError, and releases what it may acquire (no answer comes in time)', async () => {
      cache.stuck = deferred();
      const failure = rejection(renewer.acquire(leaseOf()));

      await clock.tickAsync(850);
      const error = await failure;

      expect(error).to.be.instanceOf(CacheError);
      expect(error).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
      expect(cache.releases).to.have.length(1);
    });

    it('takes every answer when it comes, though many duplicates continue one after another', async () => {
      cache.acquireAnswer = { acquired: false, record: foreignRecord('k') };
      const refused: number[] = [];
      const requests = Array.from({ length: 20 }, async (_, i) => {
        expect(await renewer.acquire(leaseOf())).to.include({ acquired: false });
        // What the first do takes longer than a lease lasts.
        clock.tick(900);
        refused.push(i);
      });

      await Promise.all(requests);

      expect(refused).to.deep.equal(Array.from({ length: 20 }, (_, i) => i));
      expect(cache.releases).to.deep.equal([]);
    });

    it('releases an acquisition once more when it succeeds after its timeout', async () => {
      cache.stuck = deferred();
      const lease = leaseOf();
      const failure = rejection(renewer.acquire(lease));
      await clock.tickAsync(850);
      await failure;

      cache.stuck.resolve();
      cache.stuck = undefined;
      await clock.tickAsync(10);

      expect(cache.releases.map(({ token }) => token)).to.deep.equal([lease.token, lease.token]);
      expect(lease.held).to.equal(false);
    });

    it('fails with the error of the cache as the cause, and releases what it may have acquired', async () => {
      const cause = new Error('READONLY');
      cache.acquireAnswer = cause;

      const error = await rejection(renewer.acquire(leaseOf()));
      await clock.tickAsync(1);

      expect(error).to.include({ code: 'ERR_LOCK_CACHE', cause });
      expect(error.message).to.contain('READONLY');
      expect(cache.releases).to.have.length(1);
    });

    it('fails with a CacheError (the cache gives too few answers)', async () => {
      cache.acquire = async () => [];

      expect(await rejection(renewer.acquire(leaseOf()))).to.include({ code: 'ERR_LOCK_CACHE' });
    });

    it('fails with a CacheError (the cache throws synchronously)', async () => {
      cache.acquire = () => {
        throw new Error('at once');
      };

      const error = await rejection(renewer.acquire(leaseOf()));

      expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
      expect(error.message).to.contain('at once');
    });
  });

  describe('a lost lease', () => {
    it('aborts the signal of an earlier run in this process as soon as a newer run reclaims its lease', async () => {
      const first = await acquire();
      cache.acquireAnswer = { acquired: true, fence: 2, reclaimed: true };

      await acquire();

      expect(first.signal.reason).to.include({ reason: 'revoked' });
    });

    it('aborts its signal and is not renewed any more (a renewal is refused)', async () => {
      const lease = await acquire();
      const { signal } = lease;
      cache.renewAnswer = false;

      await clock.tickAsync(300);
      await clock.tickAsync(5000);

      expect(signal.reason).to.be.instanceOf(LockLostError);
      expect(signal.reason).to.include({ code: 'ERR_LOCK_LOST', key: 'k', reason: 'revoked' });
      expect(cache.renewals).to.have.length(1);
      expect(lease.held).to.equal(false);
    });

    it('aborts its signal before the lease can have ended (the cache does not answer)', async () => {
      const sentAt = performance.now();
      const { signal } = await acquire();
      cache.stuck = deferred();
      let abortedAt = 0;
      signal.addEventListener('abort', () => {
        abortedAt = performance.now();
      });

      await clock.tickAsync(5000);

      expect(signal.reason).to.include({ reason: 'unreachable' });
      expect(abortedAt - sentAt).to.be.below(900);
    });

    it('aborts its signal before its release resolves (the event loop was blocked for longer than the ttl)', async () => {
      clock.restore();
      const lease = await acquire('k', 50);
      const { signal } = lease;
      const end = performance.now() + 60;
      while (performance.now() < end);

      const released = await renewer.release(lease, 0);

      expect(released).to.equal(false);
      expect(signal.reason).to.include({ reason: 'expired' });
    });
  });

  describe('a lease with maxHold', () => {
    it('is renewed until maxHold is over, is lost then, and is left to expire', async () => {
      const lease = await acquire('k', 900, 1000);

      await clock.tickAsync(999);
      const before = { held: lease.held, renewals: cache.renewals.length };
      await clock.tickAsync(1);
      const after = { held: lease.held, reason: lease.loss?.reason };
      await clock.tickAsync(10_000);

      expect(before).to.deep.equal({ held: true, renewals: 3 });
      expect(after).to.deep.equal({ held: false, reason: 'max-hold-exceeded' });
      expect([cache.renewals.length, cache.releases.length, clock.countTimers()]).to.deep.equal([3, 0, 0]);
    });

    it('is released when its work ends after all (maxHold was exceeded)', async () => {
      const lease = await acquire('k', 900, 1000);
      await clock.tickAsync(1100);

      const wasHeld = await renewer.release(lease, 0);

      expect(wasHeld).to.equal(false);
      expect(cache.releases.map(({ token }) => token)).to.deep.equal([lease.token]);
    });

    it('counts maxHold from when the key was acquired, not from when it was asked for', async () => {
      cache.stuck = deferred();
      const lease = leaseOf('k', 5000, 1000);
      const acquired = renewer.acquire(lease);
      await clock.tickAsync(800);
      cache.stuck.resolve();
      cache.stuck = undefined;
      await acquired;

      await clock.tickAsync(999);
      const before = lease.held;
      await clock.tickAsync(1);

      expect([before, lease.held]).to.deep.equal([true, false]);
    });
  });
});

describe('A process that holds a lock', () => {
  it('exits by itself (it has nothing else to do)', async () => {
    const child = fork(new URL('../fixtures/idle-holder.ts', import.meta.url), {
      execArgv: ['--import', 'tsx'],
    });
    const [code] = await once(child, 'exit');

    expect(code).to.equal(0);
  });
});
