/**
 * What every cache must do, in the terms of the nine promises. Run against each cache by `contract.test.ts`; a new
 * cache adds a line there.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Claim, Holder, Lease, LockCache, Verdict } from '../../src/caches/cache.ts';
import { until } from '../support/index.ts';

/** A cache under test. Both caches of one `create` share a store, as two processes would, where that is possible. */
export interface CacheUnderTest {
  readonly name: string;
  create(): Promise<{
    readonly cache: LockCache;
    readonly other: LockCache;
    /** Puts a value under a key behind the cache's back. */
    foreign?(key: string, value: string): Promise<void>;
    close?(): Promise<void>;
  }>;
}

export function testLockCache({ name, create }: CacheUnderTest): void {
  describe(name, () => {
    let cache: LockCache;
    let other: LockCache;
    let made: Awaited<ReturnType<CacheUnderTest['create']>>;

    before(async () => {
      made = await create();
      ({ cache, other } = made);
    });
    after(() => made?.close?.());

    describe('a claim', () => {
      it('takes a free key, which is held until it is let go', async () => {
        const a = claim();

        const verdict = await acquire(cache, a);
        const whileHeld = await inspect(cache, a.key);
        const released = await release(cache, a);

        expect(verdict).to.include({ taken: true, tookOver: false });
        expect(whileHeld).to.include({ state: 'running', owner: a.owner, key: a.key });
        expect(released).to.equal(true);
        expect(await inspect(cache, a.key)).to.equal(undefined);
      });

      it('on a held key is refused, and leaves the holder and its expiry as they are', async () => {
        const a = claim({ ttl: 60_000 });
        const taken = await acquire(cache, a);

        const refused = await acquire(other, claim({ key: a.key, ttl: 999_000 }));

        const holder = await inspect(cache, a.key);
        expect(refused.taken).to.equal(false);
        if (!refused.taken && taken.taken) {
          expect(refused.holder).to.include({
            key: a.key,
            owner: a.owner,
            state: 'running',
            fence: taken.fence,
          });
          expect(refused.holder.expiresIn).to.be.within(1, 60_000);
          expect(Math.abs(refused.holder.since - Date.now())).to.be.below(30_000);
        }
        expect(holder?.owner).to.equal(a.owner);
        expect(holder?.expiresIn).to.be.at.most(60_000);
      });

      it('does not concern other keys', async () => {
        const a = claim();
        const b = claim();
        await acquire(cache, a);

        const verdict = await acquire(cache, b);
        await release(cache, b);

        expect(verdict.taken).to.equal(true);
        expect((await inspect(cache, a.key))?.owner).to.equal(a.owner);
      });

      it('can be granted and let go ten times in a row, and is refused in between', async () => {
        const key = name_();
        for (let i = 0; i < 10; i++) {
          const a = claim({ key });
          expect((await acquire(cache, a)).taken).to.equal(true);
          expect((await acquire(other, claim({ key }))).taken).to.equal(false);
          expect(await release(cache, a)).to.equal(true);
        }
      });

      it('that is sent again with the same token was granted before', async () => {
        const a = claim();
        const first = await acquire(cache, a);

        const again = await acquire(cache, a);

        expect(again).to.deep.include({ taken: true, tookOver: false });
        expect(again.taken && again.fence).to.equal(first.taken && first.fence);
      });

      it('by the owner of a lease takes it over, with a higher fence', async () => {
        const a = claim({ owner: 'job 17', attempt: 1 });
        const first = await acquire(cache, a);
        const b = claim({ key: a.key, owner: 'job 17', attempt: 2 });

        const second = await acquire(other, b);

        expect(second).to.include({ taken: true, tookOver: true });
        if (first.taken && second.taken) expect(second.fence).to.be.above(first.fence);
        expect(await renew(cache, a), 'the first renews').to.equal(false);
        expect(await release(cache, a), 'the first lets go').to.equal(false);
        expect(await release(other, b), 'the second lets go').to.equal(true);
      });

      it('of an older run does not take the lease over from a newer one', async () => {
        const newer = claim({ owner: 'job 17', attempt: 2 });
        await acquire(cache, newer);

        const verdict = await acquire(other, claim({ key: newer.key, owner: 'job 17', attempt: 1 }));

        expect(verdict.taken).to.equal(false);
        if (!verdict.taken) expect(verdict.holder).to.include({ owner: 'job 17', attempt: 2 });
      });

      it('is not taken for the owner by one whose name contains the owner as it is written', async () => {
        const a = claim({ owner: 'x","owner":"y' });
        await acquire(cache, a);

        const verdicts = [];
        for (const owner of ['y', 'x', 'x","owner":"y"', '']) {
          verdicts.push((await acquire(other, claim({ key: a.key, owner }))).taken);
        }

        expect(verdicts).to.deep.equal([false, false, false, false]);
      });
    });

    describe('a lease', () => {
      it('ends after its ttl, for everyone', async () => {
        const a = claim({ ttl: 50 });
        await acquire(cache, a);

        await until(async () => (await inspect(other, a.key)) === undefined);
        const verdict = await acquire(other, claim({ key: a.key }));

        expect(verdict).to.include({ taken: true, tookOver: false });
      });

      it('that is renewed outlives its first ttl', async () => {
        const a = claim({ ttl: 500 });
        await acquire(cache, a);

        for (let i = 0; i < 6; i++) {
          await delay(150);
          expect(await renew(cache, a), `renewal ${i}`).to.equal(true);
        }

        expect((await acquire(other, claim({ key: a.key }))).taken).to.equal(false);
      });

      it('is extended to its ttl from now by a renewal, and not added to', async () => {
        const a = claim({ ttl: 60_000 });
        await acquire(cache, a);

        await renew(cache, a);
        await renew(cache, a);

        expect((await inspect(cache, a.key))?.expiresIn).to.be.within(30_000, 60_000);
      });

      it('that ended or was let go is not revived by a renewal', async () => {
        const letGo = claim();
        await acquire(cache, letGo);
        await release(cache, letGo);
        const ended = claim({ ttl: 20 });
        await acquire(cache, ended);
        await until(async () => (await inspect(cache, ended.key)) === undefined);

        expect(await renew(cache, letGo)).to.equal(false);
        expect(await renew(cache, ended)).to.equal(false);
        expect(await inspect(cache, letGo.key)).to.equal(undefined);
        expect(await inspect(cache, ended.key)).to.equal(undefined);
      });

      it('that ended and was taken by another is neither renewed nor let go by its first holder', async () => {
        const a = claim({ ttl: 50 });
        await acquire(cache, a);
        await until(async () => (await inspect(cache, a.key)) === undefined);
        const b = claim({ key: a.key, ttl: 60_000 });
        await acquire(other, b);

        expect(await renew(cache, a)).to.equal(false);
        expect(await release(cache, a)).to.equal(false);

        const holder = await inspect(other, a.key);
        expect(holder?.owner).to.equal(b.owner);
        expect(holder?.expiresIn).to.be.above(10_000);
      });
    });

    describe('a release', () => {
      it('by one who never held the key is refused', async () => {
        const a = claim();
        await acquire(cache, a);

        expect(await release(other, claim({ key: a.key }))).to.equal(false);
        expect((await inspect(cache, a.key))?.owner).to.equal(a.owner);
      });

      it('that is repeated is a harmless no', async () => {
        const a = claim();
        await acquire(cache, a);
        await release(cache, a);

        expect(await release(cache, a)).to.equal(false);
      });

      it('with keepFor leaves the key held as done, for all and for its own owner', async () => {
        const a = claim({ owner: 'job 17', attempt: 1 });
        const first = await acquire(cache, a);

        expect(await release(cache, a, 60_000)).to.equal(true);

        const byOther = await acquire(other, claim({ key: a.key }));
        const byOwner = await acquire(other, claim({ key: a.key, owner: 'job 17', attempt: 2 }));
        for (const verdict of [byOther, byOwner]) {
          expect(verdict.taken).to.equal(false);
          if (!verdict.taken) {
            expect(verdict.holder).to.include({ state: 'done', owner: 'job 17' });
            expect(verdict.holder.expiresIn).to.be.within(30_000, 60_000);
            expect(verdict.holder.fence).to.equal(first.taken && first.fence);
          }
        }
        expect(await renew(cache, a), 'renewed').to.equal(false);
        expect(await release(cache, a), 'let go').to.equal(false);
      });

      it('with keepFor frees the key when that is over', async () => {
        const a = claim();
        await acquire(cache, a);
        await release(cache, a, 40);

        await until(async () => (await acquire(other, claim({ key: a.key }))).taken);
      });
    });

    describe('fences', () => {
      it('of one key rise over takings, expiries and take-overs', async () => {
        const key = name_();
        const fences: number[] = [];
        for (let i = 0; i < 20; i++) {
          const a = claim({ key, owner: `owner ${i >> 1}`, attempt: i, ttl: i % 4 === 3 ? 10 : 60_000 });
          const by = i % 3 ? cache : other;
          await until(async () => {
            const verdict = await acquire(by, a);
            if (verdict.taken) fences.push(verdict.fence);
            return verdict.taken;
          });
          if (i % 4 === 1) await release(by, a);
          // What is left is taken over by the same owner's next run, or expires.
          if (i % 4 === 3) await until(async () => (await inspect(by, key)) === undefined);
        }

        for (const [i, fence] of fences.entries()) {
          expect(fence).to.be.a('number').and.satisfy(Number.isSafeInteger);
          if (i > 0) expect(fence).to.be.above(fences[i - 1] as number);
        }
        expect(fences).to.have.length(20);
      });

      it('rise where a key is let go and taken in one batch', async () => {
        if (!cache.exchange) return;
        const key = name_();
        let held = claim({ key });
        let last = ((await acquire(cache, held)) as { fence: number }).fence;
        for (let i = 0; i < 50; i++) {
          const next = claim({ key });
          const { claimed } = await cache.exchange({ releases: [lease(held)], renewals: [], claims: [next] });
          const verdict = claimed[0] as Verdict;
          expect(verdict.taken && verdict.fence).to.be.above(last);
          last = (verdict as { fence: number }).fence;
          held = next;
        }
      });
    });

    describe('a batch', () => {
      it('is answered step by step, in order', async () => {
        const held = claim();
        await acquire(other, held);
        const a = claim();
        const b = claim({ key: held.key });
        const c = claim();
        const again = claim({ key: a.key });

        const verdicts = await cache.acquire([a, b, c, again]);
        const renewed = await cache.renew([a, b, c].map(one => lease(one)));
        const released = await cache.release([c, b, a].map(one => lease(one)));

        expect(verdicts.map(verdict => 'taken' in verdict && verdict.taken)).to.deep.equal([
          true,
          false,
          true,
          false,
        ]);
        expect(renewed).to.deep.equal([true, false, true]);
        expect(released).to.deep.equal([true, false, true]);
        expect((await inspect(cache, held.key))?.owner).to.equal(held.owner);
      });

      it('may be empty', async () => {
        expect(await cache.acquire([])).to.deep.equal([]);
        expect(await cache.renew([])).to.deep.equal([]);
        expect(await cache.release([])).to.deep.equal([]);
        expect(await cache.inspect([])).to.deep.equal([]);
      });

      it('may be large', async () => {
        const many = Array.from({ length: 1000 }, () => claim());

        const verdicts = await cache.acquire(many);
        const renewed = await cache.renew(many.map(one => lease(one)));
        const holders = await cache.inspect(many.map(({ key }) => key));
        const released = await cache.release(many.map(one => lease(one)));

        expect(verdicts.every(verdict => 'taken' in verdict && verdict.taken)).to.equal(true);
        expect(renewed.map(String).filter(a => a !== 'true')).to.deep.equal([]);
        expect(holders.map(holder => holder?.owner)).to.deep.equal(many.map(({ owner }) => owner));
        expect(released.map(String).filter(a => a !== 'true')).to.deep.equal([]);
      });
    });

    describe('keys', () => {
      it('of any characters and length are kept apart', async () => {
        const base = name_();
        const odd = [
          '',
          ' ',
          ':',
          '::',
          '{}',
          '{a}',
          '*',
          '?',
          '\n',
          '\r\n',
          '\u0000',
          '\u0001',
          'é',
          'e\u0301',
          '😀',
        ];
        odd.push('"', "'", '\\', '%', '$1', '--', 'x'.repeat(10_000), `${'x'.repeat(9_999)}y`);
        const claims = odd.map(end => claim({ key: base + end, owner: `owner of ${end}` }));

        const verdicts = await cache.acquire(claims);

        expect(verdicts.map(verdict => 'taken' in verdict && verdict.taken)).to.not.include(false);
        const holders = await other.inspect(claims.map(({ key }) => key));
        expect(holders.map(holder => holder?.owner)).to.deep.equal(claims.map(({ owner }) => owner));
      });
    });

    it('lets one of many rivals win at a time: no update is lost', async () => {
      const keys = [name_(), name_()];
      const counters = new Map(keys.map(key => [key, 0]));
      const rival = async (by: LockCache) => {
        for (let i = 0; i < 25; i++) {
          for (const key of keys) {
            const a = claim({ key });
            await until(async () => (await acquire(by, a)).taken, `${key} is taken`, 60_000);
            const read = counters.get(key) as number;
            await delay(0);
            counters.set(key, read + 1);
            await release(by, a);
          }
        }
      };

      // One stops half-way: its lease ends, and the others still finish.
      await acquire(other, claim({ key: keys[0] as string, ttl: 100 }));
      await Promise.all([cache, other, cache, other, cache, other, cache, other].map(rival));

      expect([...counters.values()]).to.deep.equal([200, 200]);
    }).timeout(120_000);

    it('counts a value that somebody else put under the key as held, and leaves it', async () => {
      if (!made.foreign) return;
      const a = claim();
      await made.foreign(a.key, 'not a lock');

      const verdict = await acquire(cache, a);

      expect(verdict.taken).to.equal(false);
      if (!verdict.taken)
        expect(verdict.holder).to.include({ state: 'foreign', key: a.key, owner: '', fence: 0 });
      expect(await renew(cache, a)).to.equal(false);
      expect(await release(cache, a)).to.equal(false);
      expect((await inspect(cache, a.key))?.state).to.equal('foreign');
    });
  });
}

export function claim(given: Partial<Claim> = {}): Claim {
  return {
    key: name_(),
    token: randomUUID(),
    owner: `owner ${randomUUID()}`,
    attempt: 0,
    ttl: 60_000,
    ...given,
  };
}

export function lease({ key, token, ttl }: Claim, keepFor = 0): Lease {
  return { key, token, ttl, keepFor };
}

export async function acquire(cache: LockCache, one: Claim): Promise<Verdict> {
  return answer(await cache.acquire([one]));
}

async function renew(cache: LockCache, one: Claim): Promise<boolean> {
  return answer(await cache.renew([lease(one)]));
}

async function release(cache: LockCache, one: Claim, keepFor = 0): Promise<boolean> {
  return answer(await cache.release([lease(one, keepFor)]));
}

async function inspect(cache: LockCache, key: string): Promise<Holder | undefined> {
  return (await cache.inspect([key]))[0];
}

function answer<T>([first]: readonly (T | Error)[]): T {
  if (first instanceof Error) throw first;
  return first as T;
}

function name_(): string {
  return `contract:${randomUUID()}`;
}
