/** What leaves as one packet: seen where a client hands it to its socket. */

import { once } from 'node:events';
import { Socket } from 'node:net';
import { type ConnectionOptions, Queue, Worker } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { createClient } from 'redis';
import sinon from 'sinon';
import { holdWrites } from '../../../src/cache/redis/hold-writes.ts';
import { onceProcessor } from '../../../src/index.ts';
import {
  connectRedis,
  deferred,
  nextTurn,
  redisOptions,
  redisUrl,
  uniqueName,
  until,
} from '../../support/index.ts';

interface Chunk {
  readonly chunk: string | Buffer;
}

/** What is once in a job's end: the name of the set of those that have completed; and the verb of the releases. */
const NAMES = /(?<=(?<!metrics):)completed(?=\r)|\brelease\b/g;

type Sent = (error?: Error) => void;

/** Notes the packets that this process sends from now on: the text of each. */
function notePackets(): string[] {
  const packets: string[] = [];
  const sockets = Socket.prototype as unknown as {
    _write(chunk: string | Buffer, encoding: string, onSent: Sent): void;
    _writev(chunks: Chunk[], onSent: Sent): void;
  };
  const { _write: sendOne, _writev: sendMany } = sockets;
  sinon.replace(sockets, '_write', function (this: Socket, chunk, encoding, onSent) {
    packets.push(chunk.toString('latin1'));
    sendOne.call(this as never, chunk, encoding, onSent);
  });
  sinon.replace(sockets, '_writev', function (this: Socket, chunks, onSent) {
    packets.push(chunks.map(({ chunk }) => chunk.toString('latin1')).join(''));
    sendMany.call(this as never, chunks, onSent);
  });
  return packets;
}

/** What of some names each packet has in it, where it has any. */
function namesIn(packets: readonly string[], names: RegExp): string[][] {
  return packets.map(packet => packet.match(names) ?? []).filter(found => found.length > 0);
}

describe('holdWrites', () => {
  let redis: Redis;

  beforeEach(async () => {
    redis = connectRedis();
    await once(redis, 'ready');
  });

  afterEach(() => {
    sinon.restore();
    redis.disconnect();
  });

  it('sends what promise callbacks write meanwhile as one packet, in order', async () => {
    const packets = notePackets();

    const written = holdWrites(redis);
    const first = redis.echo('first');
    await Promise.resolve();
    const second = redis.echo('second');
    expect(packets).to.deep.equal([]);
    await written;

    expect(namesIn(packets, /first|second/g)).to.deep.equal([['first', 'second']]);
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
    const clock = sinon.useFakeTimers({
      toFake: ['queueMicrotask', 'nextTick', 'setImmediate', 'setTimeout'],
    });
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

describe('many jobs of a worker', () => {
  // node-redis writes 16 KiB at most as one packet.
  const JOBS = 10;
  const HALF = Array<string>(JOBS / 2).fill('completed');
  let queue: Queue;
  let worker: Worker;

  beforeEach(() => {
    queue = new Queue(uniqueName('queue'), { connection: redisOptions() });
  });

  afterEach(async () => {
    sinon.restore();
    await worker.close();
    await queue.obliterate({ force: true });
    await queue.close();
  });

  /** What is in each packet that is sent when all jobs end in one turn of the event loop. */
  async function sentAtTheEnd(connection: ConnectionOptions): Promise<string[][]> {
    const gate = deferred();
    let running = 0;
    const work = async () => {
      running++;
      await gate.promise;
    };
    await queue.addBulk(Array.from({ length: JOBS }, (_, i) => ({ name: 'job', data: { key: `k${i}` } })));
    worker = new Worker(queue.name, onceProcessor(work, { key: '{key}' }), { connection, concurrency: JOBS });
    let completed = 0;
    worker.on('completed', () => completed++);
    await until(() => running === JOBS, 'all run');
    const packets = notePackets();

    gate.resolve();
    await until(() => completed === JOBS, 'all have completed');
    await worker.close();

    const calls = packets.filter(packet => !packet.includes('LOAD'));
    return namesIn(calls, NAMES);
  }

  it('that end together send their completions in two packets, after their releases (ioredis)', async () => {
    const redis = connectRedis();
    const sent = await sentAtTheEnd(redis);
    redis.disconnect();

    expect(sent).to.deep.equal([['release'], HALF, HALF]);
  });

  it('that end together send their completions in the packet of their releases (node-redis)', async () => {
    const client = createClient({ url: redisUrl() });
    const sent = await sentAtTheEnd(client as never);
    client.destroy();

    expect(sent).to.deep.equal([['release', ...HALF, ...HALF]]);
  });
});
