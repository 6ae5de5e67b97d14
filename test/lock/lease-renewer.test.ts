import { fork } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import sinon from 'sinon';
import type { Claim, Lease, LockCache, Verdict } from '../../src/cache/contract.ts';
import { CacheError, LockLostError } from '../../src/core/errors.ts';
import { Keeper } from '../../src/lock/lease-renewer.ts';
import { KeptLease } from '../../src/lock/lease.ts';
import { request } from '../support/claims.ts';
import { type Deferred, deferred, rejection } from '../support/index.ts';

describe('a keeper', () => {
  let clock: sinon.SinonFakeTimers;
  let cache: ScriptedCache;
  let keeper: Keeper;

  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
    clock.tick(1000);
    cache = new ScriptedCache();
    keeper = new Keeper(cache);
  });
  afterEach(() => sinon.restore());

  const lease = (key = 'k', ttl = 900, maxHold = Number.POSITIVE_INFINITY) =>
    new KeptLease(request({ key, name: key, ttl, maxHold }));
  const take = async (key?: string, ttl?: number, maxHold?: number) => {
    const taken = lease(key, ttl, maxHold);
    await keeper.claim(taken);
    return taken;
  };

  it('renews a lease at a third of its ttl, as long as it is held', async () => {
    const taken = await take();

    await clock.tickAsync(299);
    const early = cache.renewals.length;
    await clock.tickAsync(1);
    const once_ = cache.renewals.length;
    await clock.tickAsync(3000);
    const often = cache.renewals.length;
    await keeper.release(taken, 0);
    await clock.tickAsync(3000);

    expect([early, once_, often]).to.deep.equal([0, 1, 11]);
    expect(cache.renewals).to.have.length(11);
    expect(taken.signal.aborted).to.equal(false);
  });

  it('renews all that are due in one batch, with one timer', async () => {
    for (let i = 0; i < 50; i++) await take(`k${i}`);

    expect(clock.countTimers()).to.equal(1);
    await clock.tickAsync(300);

    expect(cache.batches.filter(([verb]) => verb === 'renew')).to.deep.equal([['renew', 50]]);
    expect(clock.countTimers()).to.equal(1);
  });

  it('renews very many four thousand in a turn, so that work goes on in between', async () => {
    const taken = await Promise.all(Array.from({ length: 10_000 }, (_, i) => take(`k${i}`)));
    cache.batches.length = 0;

    await clock.tickAsync(310);

    expect(cache.batches).to.deep.equal([
      ['renew', 4000],
      ['renew', 4000],
      ['renew', 2000],
    ]);
    expect(new Set(cache.renewals).size).to.equal(10_000);
    await clock.tickAsync(5000);
    expect(taken.every(lease => lease.held)).to.equal(true);
  });

  it('has no timer once nothing is held', async () => {
    const taken = await take();
    await keeper.release(taken, 0);
    await clock.tickAsync(1000);

    expect(clock.countTimers()).to.equal(0);
  });

  it('claims, renews and lets go of what one turn asks for together', async () => {
    const held = await Promise.all([take('a'), take('b'), take('c')]);
    await Promise.all(held.map(one => keeper.release(one, 0)));

    expect(cache.batches).to.deep.equal([
      ['acquire', 3],
      ['release', 3],
    ]);
  });

  it('renews a lease for no longer than its maxHold, then tells it and leaves it to end', async () => {
    const taken = await take('k', 900, 1000);

    await clock.tickAsync(999);
    const before = { held: taken.held, renewals: cache.renewals.length };
    await clock.tickAsync(1);
    const after = { held: taken.held, why: taken.lost?.why };
    await clock.tickAsync(10_000);

    expect(before).to.deep.equal({ held: true, renewals: 3 });
    expect(after).to.deep.equal({ held: false, why: 'overdue' });
    expect([cache.renewals.length, cache.releases.length, clock.countTimers()]).to.deep.equal([3, 0, 0]);
  });

  it('lets go of a lease that was held too long when its work ends after all', async () => {
    const taken = await take('k', 900, 1000);
    await clock.tickAsync(1100);

    const wasHeld = await keeper.release(taken, 0);

    expect(wasHeld).to.equal(false);
    expect(cache.releases.map(({ token }) => token)).to.deep.equal([taken.token]);
  });

  it('counts maxHold from when the lock was taken, not from when it was asked for', async () => {
    cache.stuck = deferred();
    const asked = lease('k', 5000, 1000);
    const claimed = keeper.claim(asked);
    await clock.tickAsync(800);
    cache.stuck.resolve();
    cache.stuck = undefined;
    await claimed;

    await clock.tickAsync(999);
    const before = asked.held;
    await clock.tickAsync(1);

    expect([before, asked.held]).to.deep.equal([true, false]);
  });

  it('loses a lease whose renewal is refused, and stops renewing', async () => {
    const taken = await take();
    const { signal } = taken;
    cache.renewAnswer = false;

    await clock.tickAsync(300);
    await clock.tickAsync(5000);

    expect(signal.reason).to.be.instanceOf(LockLostError);
    expect(signal.reason).to.include({ code: 'ERR_LOCK_LOST', key: 'k', why: 'taken-over' });
    expect(cache.renewals).to.have.length(1);
    expect(taken.held).to.equal(false);
  });

  it('loses a lease before it can have ended where the cache does not answer', async () => {
    const sentAt = performance.now();
    const { signal } = await take();
    cache.stuck = deferred();
    let abortedAt = 0;
    signal.addEventListener('abort', () => {
      abortedAt = performance.now();
    });

    await clock.tickAsync(5000);

    expect(signal.reason).to.include({ why: 'unreachable' });
    expect(abortedAt - sentAt).to.be.below(900);
  });

  it('tries a renewal again that failed, and keeps the lease when that succeeds', async () => {
    const { signal } = await take();
    cache.renewAnswer = new Error('busy');

    await clock.tickAsync(400);
    cache.renewAnswer = true;
    await clock.tickAsync(2000);

    expect(cache.renewals.length).to.be.within(4, 12);
    expect(signal.aborted).to.equal(false);
  });

  it('counts a lease from before the claim was sent', async () => {
    cache.stuck = deferred();
    const taken = lease();
    const claimed = keeper.claim(taken);
    await clock.tickAsync(700);
    cache.stuck.resolve();
    await claimed;
    const { signal } = taken;
    cache.stuck = deferred();

    await clock.tickAsync(150);

    expect(signal.reason).to.include({ code: 'ERR_LOCK_LOST' });
  });

  it('counts a renewal from before it was sent', async () => {
    const taken = await take();
    cache.stuck = deferred();
    await clock.tickAsync(600);
    cache.stuck.resolve();
    await clock.tickAsync(0);

    expect(taken.safeUntil).to.equal(taken.ttl * 0.9 + 1000 + 300);
  });

  it('notices a blocked event loop on the next turn, before the end is reported', async () => {
    clock.restore();
    const taken = await take('k', 50);
    const { signal } = taken;
    const end = performance.now() + 60;
    while (performance.now() < end);

    const released = await keeper.release(taken, 0);

    expect(released).to.equal(false);
    expect(signal.reason).to.include({ why: 'expired' });
  });

  it('fails a claim that is not answered in time, and lets go of it: at once, and when it lands late', async () => {
    cache.stuck = deferred();
    const failure = rejection(keeper.claim(lease()));
    await clock.tickAsync(900);
    const error = await failure;
    const before = cache.releases.length;
    cache.stuck.resolve();
    cache.stuck = undefined;
    await clock.tickAsync(10);

    expect(error).to.be.instanceOf(CacheError);
    expect(error).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(before).to.equal(1);
    expect(cache.releases).to.have.length(2);
  });

  it('fails a claim with the error of the cache, and lets go of what it may have got', async () => {
    const cause = new Error('READONLY');
    cache.claimAnswer = cause;

    const error = await rejection(keeper.claim(lease()));
    await clock.tickAsync(1);

    expect(error).to.include({ code: 'ERR_LOCK_CACHE', cause });
    expect(error.message).to.contain('READONLY');
    expect(cache.releases).to.have.length(1);
  });

  it('does not wait for the answer to a release for longer than the lease is safe', async () => {
    const taken = await take();
    cache.stuck = deferred();
    let released: boolean | undefined;
    void keeper.release(taken, 0).then(answer => {
      released = answer;
    });

    await clock.tickAsync(800);
    const early = released;
    await clock.tickAsync(100);

    expect(early).to.equal(undefined);
    expect(released).to.equal(false);
  });

  it('does not wait for the answer to a last extension for longer than the lease is safe', async () => {
    const taken = await take();
    cache.renew = () => new Promise(() => {});

    const left = keeper.leave(taken, 60_000);
    await clock.tickAsync(810);
    await left;

    expect(taken.phase).to.equal('over');
    expect(clock.countTimers()).to.equal(0);
  });

  it('never rejects a release', async () => {
    const taken = await take();
    cache.releaseAnswer = new Error('gone');

    expect(await keeper.release(taken, 0)).to.equal(false);
  });

  it("aborts the work's signal when a release finds the lease gone, though nobody waited for its answer", async () => {
    const taken = await take();
    const { signal } = taken;
    cache.releaseAnswer = false;

    await keeper.releaseUnanswered(taken, 0);
    const early = signal.aborted;
    await clock.tickAsync(0);

    expect(early).to.equal(false);
    expect(signal.reason).to.include({ code: 'ERR_LOCK_LOST', why: 'taken-over' });
  });

  it('does not revive a lease whose renewal was under way when it was let go', async () => {
    const taken = await take();
    cache.stuck = deferred();
    await clock.tickAsync(300);
    const sent = keeper.releaseUnanswered(taken, 0);
    cache.stuck.resolve();
    await sent;
    await clock.tickAsync(5000);

    expect(cache.renewals).to.have.length(1);
    expect(clock.countTimers()).to.equal(0);
  });

  it('tells an earlier run in this process at once that it was taken over', async () => {
    const first = await take();
    cache.claimAnswer = { taken: true, fence: 2, tookOver: true };

    await take();

    expect(first.signal.reason).to.include({ why: 'taken-over' });
  });

  it('survives a cache that gives too few answers, or throws at once', async () => {
    cache.acquire = async () => [];
    expect(await rejection(keeper.claim(lease()))).to.include({ code: 'ERR_LOCK_CACHE' });
    cache.acquire = () => {
      throw new Error('at once');
    };
    expect((await rejection(keeper.claim(lease()))).message).to.contain('at once');
  });
});

describe('a process that holds a lock and has nothing to do', () => {
  it('exits by itself', async () => {
    const child = fork(new URL('../fixtures/idle-holder.ts', import.meta.url), {
      execArgv: ['--import', 'tsx'],
    });
    const [code] = await once(child, 'exit');

    expect(code).to.equal(0);
  });
});

/** Answers as it is told to, and notes what it was asked. */
class ScriptedCache implements LockCache {
  readonly batches: [string, number][] = [];
  readonly renewals: Lease[] = [];
  readonly releases: Lease[] = [];
  claimAnswer: Verdict | Error = { taken: true, fence: 1, tookOver: false };
  renewAnswer: boolean | Error = true;
  releaseAnswer: boolean | Error = true;
  /** While it is there, no answer comes. */
  stuck: Deferred | undefined;

  async acquire(claims: readonly Claim[]): Promise<(Verdict | Error)[]> {
    this.batches.push(['acquire', claims.length]);
    await this.stuck?.promise;
    return claims.map(() => this.claimAnswer);
  }

  async renew(leases: readonly Lease[]): Promise<(boolean | Error)[]> {
    this.batches.push(['renew', leases.length]);
    this.renewals.push(...leases);
    await this.stuck?.promise;
    return leases.map(() => this.renewAnswer);
  }

  async release(leases: readonly Lease[]): Promise<(boolean | Error)[]> {
    this.batches.push(['release', leases.length]);
    this.releases.push(...leases);
    await this.stuck?.promise;
    return leases.map(() => this.releaseAnswer);
  }

  async inspect(): Promise<undefined[]> {
    return [];
  }
}
