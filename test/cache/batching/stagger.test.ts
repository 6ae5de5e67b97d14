import { createNodeRedisClient } from 'bullmq';
import { expect } from 'chai';
import { createClient } from 'redis';
import { type Stagger, staggerOf } from '../../../src/cache/batching/stagger.ts';
import type { LockCache } from '../../../src/cache/contract.ts';
import { endOfTurn, nextTurn } from '../../../src/core/timers.ts';
import { RedisCache } from '../../../src/index.ts';
import { connectRedis, redisUrl } from '../../support/index.ts';

describe('Stagger', () => {
  let stagger: Stagger;
  beforeEach(() => {
    stagger = staggerOf({ writesByTurn: true } as LockCache) as Stagger;
  });

  /** Lets jobs begin in this turn. @returns those that have begun, one list for each turn of the event loop. */
  async function begunInTurns(count: number): Promise<number[][]> {
    let begun: number[] = [];
    for (let i = 0; i < count; i++) {
      const wait = stagger.begin();
      if (wait) void wait.then(() => begun.push(i));
      else begun.push(i);
    }
    const turns: number[][] = [];
    await endOfTurn();
    for (let seen = 0; ; await nextTurn()) {
      seen += begun.length;
      turns.push(begun);
      begun = [];
      if (seen === count) return turns;
    }
  }

  it('lets a lone job begin at once, and few', async () => {
    for (const count of [1, 3]) {
      expect(await begunInTurns(count)).to.deep.equal([Array.from({ length: count }, (_, i) => i)]);
    }
  });

  it('lets more begin three at a time, in order, each when those before have written', async () => {
    const turns = await begunInTurns(10);

    expect(turns.filter(begun => begun.length > 0)).to.deep.equal([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]);
    // What is written in a turn leaves in the next one.
    expect(turns.length).to.be.at.least(7);
  });

  it('lets all begin in this turn where many are under way', async () => {
    expect(await begunInTurns(17)).to.have.length(1);
    for (let i = 0; i < 12; i++) stagger.end();
    expect(await begunInTurns(12)).to.have.length(1);

    for (let i = 0; i < 12; i++) stagger.end();
    expect((await begunInTurns(11)).length).to.be.above(1);
  });

  it('keeps the jobs of another cache waiting for nothing', async () => {
    const other = staggerOf({ writesByTurn: true } as LockCache) as Stagger;
    for (let i = 0; i < 3; i++) expect(stagger.begin()).to.equal(undefined);

    expect(other.begin()).to.equal(undefined);
    expect(stagger.begin()).to.be.instanceOf(Promise);
  });

  it('lets jobs of the next turn begin at once', async () => {
    void begunInTurns(10);
    await nextTurn();

    expect(stagger.begin()).to.equal(undefined);
  });

  it('is one for each cache, and none for a client that writes each command by itself', () => {
    const cache = { writesByTurn: true } as LockCache;

    expect(staggerOf(cache)).to.equal(staggerOf(cache));
    expect(staggerOf({ writesByTurn: false } as LockCache)).to.equal(undefined);
  });

  it("is for the clients of node-redis and BullMQ's wrappers of them, and for no others", async () => {
    const client = createClient({ url: redisUrl() });
    const wrapped = createNodeRedisClient(client as never);
    const redis = connectRedis();
    await wrapped.connect();

    expect(new RedisCache(client).writesByTurn).to.equal(true);
    expect(new RedisCache(wrapped as never).writesByTurn).to.equal(true);
    expect(new RedisCache(redis).writesByTurn).to.equal(false);
    expect(new RedisCache(Object.assign(redis, { raw: null })).writesByTurn).to.equal(false);

    redis.disconnect();
    await client.close();
  });
});
