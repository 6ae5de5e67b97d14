/** Guarded jobs whose locks are not kept on the connection of their queue. */

import { expect } from 'chai';
import { MemoryCache, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench } from '../support/bullmq.ts';
import { connectRedis, deferred } from '../support/index.ts';

describe('A guarded processor with a cache of its own', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  for (const [name, make] of [
    ['a MemoryCache', () => new MemoryCache()],
    ['a Map', () => new Map()],
    ['a RedisCache', () => new RedisCache(connectRedis())],
  ] as const) {
    it(`skips duplicates (${name})`, async () => {
      const first = await bench.hold({ cache: make() });

      expect(await bench.result(await bench.add({}))).to.equal(null);

      expect(await first.finish()).to.equal('worked');
      expect(first.ran).to.deep.equal([first.job.id]);
    });

    it(`releases each key before its job's completion is known (${name})`, async () => {
      let runs = 0;
      await bench.worker(
        onceProcessor(async () => ++runs, { key: 'k', cache: make() }),
        { concurrency: 4 },
      );

      for (let i = 1; i < 30; i++) expect(await bench.result(await bench.add({}))).to.equal(i);
    });
  }

  it('completes a job only when its cache has answered the release', async () => {
    const gate = deferred();
    const asked = deferred();
    class Slow extends MemoryCache {
      override async release(steps: Parameters<MemoryCache['release']>[0]): Promise<boolean[]> {
        asked.resolve();
        await gate.promise;
        return super.release(steps);
      }
    }
    const cache = new Slow();
    await bench.worker(onceProcessor(async () => 'ran', { key: 'k', cache }));
    const job = await bench.add({});

    await asked.promise;
    // If the completion did not wait for the release, the server would have it before these.
    await bench.queue.getJobCounts();
    await connectRedis().ping();
    const state = await job.getState();
    gate.resolve();

    expect(state).to.equal('active');
    expect(await bench.result(job)).to.equal('ran');
  });

  it('runs the other jobs of a turn if one of them finds a value that is no lock under its key', async () => {
    const cache = new Map<string, unknown>([[`bull::once:1:${bench.queueName}:k-1`, 'not a lock']]);
    await bench.worker(
      onceProcessor(async () => 'ran', { key: 'k-{id}', cache }),
      { concurrency: 4 },
    );

    const jobs = await Promise.all([1, 2, 3].map(id => bench.add({ id })));

    expect(await Promise.all(jobs.map(job => bench.result(job)))).to.deep.equal([null, 'ran', 'ran']);
  });

  it('fails its jobs if the cache is a name that nobody registered', async () => {
    await bench.worker(onceProcessor(async () => 'ran', { key: 'k', cache: 'nowhere' }));

    expect(await bench.failure(await bench.add({}))).to.match(/no cache is named 'nowhere' \(named are: /);
  });
});
