/** `whenLocked: 'in-order'` with several processes, some of which are killed. */

import { type Job, Queue } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { Child } from '../support/child.ts';
import { connectRedis, redisOptions, uniqueName, until } from '../support/index.ts';

interface Entry {
  readonly event: 'started' | 'ended' | 'failed';
  readonly id: string;
  readonly data: { readonly key: string; readonly n: number };
  readonly starts: number;
}

describe('Jobs in order, in three processes of five slots', function () {
  this.timeout(120_000);
  const WORK_MS = 10;
  let queue: Queue;
  let redis: Redis;
  let children: Child[];
  let log: string;
  beforeEach(() => {
    redis = connectRedis();
    queue = new Queue(uniqueName('queue'), { connection: redisOptions() });
    children = [];
    log = uniqueName('log');
  });
  afterEach(async () => {
    for (const child of children) if (child.alive) await child.kill();
    await queue.obliterate({ force: true });
    await queue.close();
    redis.disconnect();
  });

  function start(options: object = {}, worker: object = {}): void {
    for (let i = 0; i < 3; i++) {
      children.push(
        new Child('line-worker.ts', {
          connection: redisOptions(),
          queueName: queue.name,
          options: { key: '{key}', whenLocked: 'in-order', ...options },
          worker: { concurrency: 5, ...worker },
          log,
          workMs: WORK_MS,
        }),
      );
    }
  }

  function add(key: string, count: number, data: object = {}, opts: object = {}): Promise<Job[]> {
    const jobs = Array.from({ length: count }, (_, n) => ({ name: 'job', data: { key, n, ...data }, opts }));
    return queue.addBulk(jobs);
  }

  async function entries(): Promise<Entry[]> {
    return (await redis.lrange(log, 0, -1)).map(line => JSON.parse(line));
  }

  const countEnded = async () => (await queue.getCompletedCount()) + (await queue.getFailedCount());

  /** The numbers of the jobs of a key, in the order in which they first started. */
  function firstStarts(all: readonly Entry[], key: string): number[] {
    const started = all.filter(({ event, data }) => event === 'started' && data.key === key);
    return [...new Set(started.map(({ data }) => data.n))];
  }

  /** How many of a key were at work at the same time at most. */
  function mostAtOnce(all: readonly Entry[], key: string): number {
    const running = new Set<string>();
    let most = 0;
    for (const { event, id, data } of all) {
      if (data.key !== key) continue;
      if (event === 'started') running.add(id);
      else running.delete(id);
      most = Math.max(most, running.size);
    }
    return most;
  }

  const inOrder = (count: number) => Array.from({ length: count }, (_, n) => n);

  it('all run, in the order in which they were handed out, and those of another key beside them', async () => {
    await add('a', 100);
    await add('b', 10);
    start();
    await until(async () => (await countEnded()) === 110, 'all have ended', 60_000);

    const all = await entries();
    expect(firstStarts(all, 'a')).to.deep.equal(inOrder(100));
    expect(firstStarts(all, 'b')).to.deep.equal(inOrder(10));
    expect([mostAtOnce(all, 'a'), mostAtOnce(all, 'b')]).to.deep.equal([1, 1]);
    const ended = all.filter(({ event }) => event === 'ended');
    expect(ended).to.have.length(110);
    const starts = ended.reduce((sum, entry) => sum + entry.starts, 0);
    expect(starts / 110, 'starts a job').to.be.at.most(2.2);
    const firstOfB = all.findIndex(({ data }) => data.key === 'b');
    expect(firstOfB, 'the first of b waits for those of a').to.be.below(100);
  });

  it('keep their order through failures and retries, with holdThroughRetries', async () => {
    await add('a', 40, { failing: 1 }, { attempts: 3, backoff: 20 });
    // BullMQ may be late with a retry by as much, where no other job comes.
    start({ holdThroughRetries: true }, { drainDelay: 1 });
    await until(async () => (await countEnded()) === 40, 'all have ended', 60_000);

    const all = await entries();
    const started = all.filter(({ event }) => event === 'started').map(({ data }) => data.n);
    expect(started).to.deep.equal(inOrder(40).flatMap(n => [n, n]));
    expect(await queue.getFailedCount()).to.equal(0);
  });

  it('all run when a process is killed, and no two at once', async () => {
    await add('a', 60);
    const short = { lockDuration: 1000, stalledInterval: 300, maxStalledCount: 5 };
    start({ ttl: 1000 }, short);
    await until(async () => (await queue.getCompletedCount()) >= 20, 'a third has ended', 60_000);
    const all = await entries();
    const { pid } = all.findLast(({ event }) => event === 'started') as Entry & { pid: number };
    await (children.find(child => child.pid === pid) as Child).kill();
    await until(async () => (await countEnded()) === 60, 'all have ended', 60_000);

    const after = await entries();
    expect(new Set(firstStarts(after, 'a')).size).to.equal(60);
    // The run that was killed has no end.
    expect(mostAtOnce(after, 'a')).to.be.at.most(2);
    expect(await queue.getFailedCount()).to.equal(0);
  });

  it('are three at a time with concurrency: 3', async () => {
    await add('a', 60);
    start({ concurrency: 3 });
    await until(async () => (await countEnded()) === 60, 'all have ended', 60_000);

    const all = await entries();
    expect(mostAtOnce(all, 'a')).to.equal(3);
    expect(new Set(firstStarts(all, 'a')).size).to.equal(60);
  });
});
