import { expect } from 'chai';
import sinon from 'sinon';
import { recordOf } from '../../src/cache/lock-rules.ts';
import { Lease } from '../../src/lock/lease.ts';
import type { LeaseRenewer } from '../../src/lock/lease-renewer.ts';
import { deferred } from '../support/index.ts';
import { leaseTerms } from '../support/lease-terms.ts';
import { renewerOnFakeClock, type ScriptedCache } from './scripted-cache.ts';

describe('The release of a lease', () => {
  const TTL = 900;
  let clock: sinon.SinonFakeTimers;
  let cache: ScriptedCache;
  let renewer: LeaseRenewer;

  beforeEach(() => {
    ({ clock, cache, renewer } = renewerOnFakeClock());
  });
  afterEach(() => sinon.restore());

  async function acquire(): Promise<Lease> {
    const lease = new Lease(
      leaseTerms({ storedKey: 'k', key: 'k', ttl: TTL, maxHold: Number.POSITIVE_INFINITY }),
    );
    await renewer.acquire(lease);
    return lease;
  }

  it('resolves when the lease is no longer safe at the latest (a release is not answered)', async () => {
    const lease = await acquire();
    cache.stuck = deferred();
    let released: boolean | undefined;
    void renewer.release(lease, 0).then(answer => {
      released = answer;
    });

    await clock.tickAsync(800);
    const early = released;
    await clock.tickAsync(100);

    expect(early).to.equal(undefined);
    expect(released).to.equal(false);
  });

  it('is waited for while the key may be stored (maxHold is over)', async () => {
    const terms = leaseTerms({ storedKey: 'k', key: 'k', ttl: TTL, maxHold: 100 });
    const lease = new Lease(terms);
    await renewer.acquire(lease);
    await clock.tickAsync(200);
    cache.stuck = deferred();
    let released: boolean | undefined;
    void renewer.release(lease, 0).then(answer => {
      released = answer;
    });

    await clock.tickAsync(10);
    const early = released;
    cache.stuck.resolve();
    await clock.tickAsync(0);

    expect(early).to.equal(undefined);
    expect(released).to.equal(false);
  });

  it('is waited for while the key may be stored (maxHold is over, and a renewal was under way)', async () => {
    const terms = leaseTerms({ storedKey: 'k', key: 'k', ttl: TTL, maxHold: 301 });
    const lease = new Lease(terms);
    await renewer.acquire(lease);
    cache.stuck = deferred();
    await clock.tickAsync(310);
    cache.stuck.resolve();
    await clock.tickAsync(540);
    cache.stuck = deferred();
    let released: boolean | undefined;
    void renewer.release(lease, 0).then(answer => {
      released = answer;
    });

    await clock.tickAsync(10);

    expect([lease.loss?.reason, released]).to.deep.equal(['max-hold-exceeded', undefined]);
  });

  it('resolves when the lease is no longer safe at the latest (a reservation is not answered)', async () => {
    const lease = await acquire();
    cache.stuck = deferred();

    const left = renewer.release(lease, 0, { reservation: { dueIn: 0, lastsFor: 60_000 } });
    await clock.tickAsync(910);
    await left;

    expect(lease.phase).to.equal('ended');
    expect(clock.countTimers()).to.equal(0);
  });

  it('does not reject, and resolves when the lease is no longer safe at the latest (the cache fails)', async () => {
    const lease = await acquire();
    cache.releaseAnswer = new Error('gone');

    const released = renewer.release(lease, 0);
    await clock.tickAsync(900);

    expect(await released).to.equal(false);
  });

  it('sends a release that failed again, for as long as the lease is safe', async () => {
    const lease = await acquire();
    cache.releaseAnswer = new Error('busy');

    const released = renewer.release(lease, 0);
    await clock.tickAsync(100);
    cache.releaseAnswer = true;
    await clock.tickAsync(200);

    expect(await released).to.equal(true);
    expect(cache.releases.length).to.be.within(2, 10);
    expect(new Set(cache.releases.map(({ token }) => token))).to.deep.equal(new Set([lease.token]));
  });

  it('counts as released, and not as lost, if only the answer to the release got lost', async () => {
    const lease = await acquire();
    const { signal } = lease;
    cache.releaseAnswer = new Error('the connection was closed');

    const released = renewer.release(lease, 0);
    await clock.tickAsync(0);
    cache.releaseAnswer = false;
    await clock.tickAsync(200);

    expect(await released).to.equal(true);
    expect(signal.aborted).to.equal(false);
  });

  it('aborts the signal when someone else holds the key by now (nobody waited for the answer)', async () => {
    const lease = await acquire();
    const { signal } = lease;
    cache.releaseAnswer = false;
    cache.record = recordOf(
      'k',
      { state: 'running', token: 't', fence: 2, attempt: 0, since: 0, ttl: 1, owner: 'o', expiresAt: 1 },
      0,
    );

    await renewer.sendRelease(lease, 0);
    const early = signal.aborted;
    await clock.tickAsync(0);

    expect(early).to.equal(false);
    expect(signal.reason).to.include({ code: 'ERR_LOCK_LOST', reason: 'revoked' });
  });

  it('is no loss if the key is free (the client has sent the release twice)', async () => {
    const lease = await acquire();
    const { signal } = lease;
    cache.releaseAnswer = false;

    const released = await renewer.release(lease, 0);
    await clock.tickAsync(0);

    expect(released).to.equal(false);
    expect(signal.aborted).to.equal(false);
  });

  it('does not revive the lease (a renewal was under way)', async () => {
    const lease = await acquire();
    cache.stuck = deferred();
    await clock.tickAsync(300);
    const sent = renewer.sendRelease(lease, 0);
    cache.stuck.resolve();
    await sent;
    await clock.tickAsync(5000);

    expect(cache.renewals).to.have.length(1);
    expect(clock.countTimers()).to.equal(0);
  });
});
