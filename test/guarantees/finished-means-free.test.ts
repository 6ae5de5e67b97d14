/** Guarantee 6: the key of a job is free for everyone who learns from BullMQ that the job has finished. */

import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, type Setup, setups } from '../support/bullmq.ts';
import { connectRedis, redisOptions, until } from '../support/index.ts';

/** How often a duplicate is added. It is the order of two messages on one connection that could go wrong, now and then. */
const MAX_ROUNDS = 3000;
const ROUNDS = 500;
/** On PostgreSQL the guard waits for the answer to its release, so that no order is left to chance. */
const POSTGRES_ROUNDS = 200;

describe('The key of a job that has finished', () => {
  let bench: Bench;
  afterEach(() => bench.close());

  for (const setup of [...setups, undefined]) {
    it(`is free for a duplicate that is added as soon as the job is known to have finished (${setup?.name ?? 'the locks are on a connection of their own'})`, async () => {
      bench = await Bench.open(setup);
      const own = connectRedis();
      const options = { key: 'k', ...(setup ? {} : { cache: new RedisCache(own) }) };
      const runs = [0, 0];
      for (const i of [0, 1] as const) {
        const processor = onceProcessor(async () => ++runs[i]! > 0, options);
        await bench.worker(processor, { concurrency: 2 });
      }

      let skipped = 0;
      const rounds = roundsOn(setup);
      for (let i = 0; i < rounds; i++) {
        if ((await bench.result(await bench.add({}, { removeOnComplete: 100 }))) !== true) skipped++;
      }

      expect(skipped).to.equal(0);
      expect(runs[0]! + runs[1]!).to.equal(rounds);
      own.disconnect();
    }).timeout(180_000);
  }

  for (const setup of setups.filter(({ onRedis }) => onRedis)) {
    it(`is released on the server before the completion or the failure of the job (${setup.name})`, async () => {
      bench = await Bench.open(setup);
      const order: string[] = [];
      // Read from the socket: ioredis 6 does not understand the replies to a MONITOR.
      const monitor = connect(redisOptions());
      const lines = createInterface(monitor).on('line', line => {
        if (line.includes('"DEL"') && line.includes(bench.queueName)) {
          for (const [, key] of line.matchAll(/::once:1:[^:]+:k-(\d+)"/g)) order.push(`released ${key}`);
        }
        if (!line.includes(`"bull:${bench.queueName}:events"`)) return;
        const ended = /"event" "(completed|failed)" "jobId" "(\w+)"/.exec(line);
        if (ended) order.push(`${ended[1]} ${ended[2]}`);
      });
      monitor.write('MONITOR\r\n');
      await once(lines, 'line');
      await bench.worker(
        onceProcessor(
          async (job, _token, _signal, lock) => {
            // The work may release it, and not wait for that.
            if (job.data.i % 3 === 0) void lock.release();
            if (job.data.i % 2) throw new Error('odd');
          },
          { key: 'k-{i}' },
        ),
        { concurrency: 10 },
      );

      const numbers = Array.from({ length: 100 }, (_, i) => i);
      const jobs = await bench.queue.addBulk(
        numbers.map(i => ({ name: 'job', data: { i }, opts: { jobId: `j${i}` } })),
      );
      await until(() => order.length === 200);

      for (const { data, id } of jobs) {
        const ended = `${data.i % 2 ? 'failed' : 'completed'} ${id}`;
        expect(order).to.include(ended);
        expect(order.indexOf(`released ${data.i}`)).to.be.within(0, order.indexOf(ended) - 1);
      }
      monitor.destroy();
    });
  }
});

function roundsOn(setup: Setup | undefined): number {
  if (setup === setups[0]) return MAX_ROUNDS;
  return setup?.name.includes('PostgreSQL') ? POSTGRES_ROUNDS : ROUNDS;
}
