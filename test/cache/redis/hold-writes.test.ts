/** What leaves as one packet: seen where ioredis hands it to its socket. */

import { once } from 'node:events';
import { Queue, Worker } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { spy, useFakeTimers } from 'sinon';
import { holdWrites } from '../../../src/cache/redis/hold-writes.ts';
import { onceProcessor } from '../../../src/index.ts';
import { connectRedis, deferred, nextTurn, redisOptions, uniqueName, until } from '../../support/index.ts';

interface Chunk {
  readonly chunk: string | Buffer;
}

/** Notes the commands of each packet of several that a client sends from now on. */
function notePackets({ stream }: Redis): string[][] {
  const packets: string[][] = [];
  const socket = stream as unknown as { _writev(chunks: Chunk[], done: (error?: Error) => void): void };
  const send = socket._writev;
  socket._writev = (chunks, done) => {
    packets.push(chunks.map(({ chunk }) => chunk.toString('latin1')));
    send.call(socket, chunks, done);
  };
  return packets;
}

describe('holdWrites', () => {
  let redis: Redis;

  beforeEach(async () => {
    redis = connectRedis();
    await once(redis, 'ready');
  });

  afterEach(() => redis.disconnect());

  it('sends what promise callbacks write meanwhile as one packet, in order', async () => {
    const packets = notePackets(redis);

    const written = holdWrites(redis);
    const first = redis.echo('first');
    await Promise.resolve();
    const second = redis.echo('second');
    expect(packets).to.deep.equal([]);
    await written;

    expect(packets.map(packet => packet.map(command => /first|second/.exec(command)?.[0]))).to.deep.equal([
      ['first', 'second'],
    ]);
    expect(await Promise.all([first, second])).to.deep.equal(['first', 'second']);
  });

  it('holds back nothing of the next turn', async () => {
    void holdWrites(redis);
    await nextTurn();

    expect(redis.stream.writableCorked).to.equal(0);
    expect(await redis.echo('later')).to.equal('later');
  });

  it('waits for no promise callbacks that go on and on', async () => {
    void holdWrites(redis);
    for (let round = 0; round < 100; round++) await undefined;

    expect(redis.stream.writableCorked).to.equal(0);
  });

  it('holds back once what is asked for several times', async () => {
    const written = holdWrites(redis);
    expect(holdWrites(redis)).to.equal(written);
    expect(redis.stream.writableCorked).to.equal(1);
    await written;

    expect(redis.stream.writableCorked).to.equal(0);
  });

  it('holds back nothing for ever where a test has replaced what schedules work', async () => {
    const clock = useFakeTimers({ toFake: ['queueMicrotask', 'nextTick', 'setImmediate', 'setTimeout'] });
    try {
      await holdWrites(redis);
    } finally {
      clock.restore();
    }

    expect(redis.stream.writableCorked).to.equal(0);
  });

  it('loses no command whose connection drops meanwhile', async () => {
    const key = uniqueName();

    void holdWrites(redis);
    const set = redis.set(key, 'kept', 'PX', 10_000);
    redis.stream.destroy();
    await set;

    expect(await redis.get(key)).to.equal('kept');
  });

  it('does nothing to a client without a socket', () => {
    for (const client of [{}, { stream: undefined }, { stream: null }, { stream: {} }]) {
      expect(holdWrites(client)).to.equal(undefined);
    }
  });
});

describe('many jobs of a worker on ioredis', () => {
  const JOBS = 16;
  let queue: Queue;
  let worker: Worker | undefined;
  let redis: Redis;

  beforeEach(() => {
    redis = connectRedis();
    queue = new Queue(uniqueName('queue'), { connection: redisOptions() });
  });

  afterEach(async () => {
    await worker?.close();
    await queue.obliterate({ force: true });
    await queue.close();
    redis.disconnect();
  });

  const nameOf = (command: string) => (/completed/.exec(command) ?? /release/.exec(command))?.[0];

  it('that end together send their completions in two packets, after their releases', async () => {
    const gate = deferred();
    let running = 0;
    const work = async () => {
      running++;
      await gate.promise;
    };
    await queue.addBulk(Array.from({ length: JOBS }, (_, i) => ({ name: 'job', data: { key: `k${i}` } })));
    const guarded = onceProcessor(work, { key: '{key}' });
    worker = new Worker(queue.name, guarded, { connection: redis, concurrency: JOBS });
    let completed = 0;
    worker.on('completed', () => completed++);
    await until(() => running === JOBS, 'all run');
    const packets = notePackets(redis);
    const written = spy(redis.stream, 'write');

    gate.resolve();
    await until(() => completed === JOBS, 'all have completed');

    expect(packets.map(packet => packet.map(nameOf))).to.deep.equal(
      Array(2).fill(Array(JOBS / 2).fill('completed')),
    );
    expect(nameOf(String(written.firstCall.args[0]))).to.equal('release');
  });
});
