/** Promise 6: whoever learns that a job has finished can't find its lock still held. */

import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, setups } from '../support/bullmq.ts';
import { connectRedis, redisOptions, until } from '../support/index.ts';

const MOST_ROUNDS = 3000;
const ROUNDS = 500;

describe('finished means free', () => {
  let bench: Bench;
  afterEach(() => bench.close());

  describe('a producer that waits for a job to finish, and at once adds its duplicate', () => {
    for (const setup of [...setups, undefined]) {
      it(`finds the key free every time: ${setup?.name ?? 'the locks are on a connection of their own'}`, async () => {
        bench = await Bench.open(setup);
        const own = connectRedis();
        const options = { key: 'k', raiseIfLock: false, ...(setup ? {} : { cache: new RedisCache(own) }) };
        const runs = [0, 0];
        for (const i of [0, 1] as const) {
          await bench.worker(
            onceProcessor(async () => ++runs[i]! > 0, options),
            { concurrency: 2 },
          );
        }

        let skipped = 0;
        const rounds = setup === setups[0] ? MOST_ROUNDS : ROUNDS;
        for (let i = 0; i < rounds; i++) {
          if ((await bench.result(await bench.add({}, { removeOnComplete: 100 }))) !== true) skipped++;
        }

        expect(skipped).to.equal(0);
        expect(runs[0]! + runs[1]!).to.equal(rounds);
        own.disconnect();
      }).timeout(180_000);
    }
  });

  describe('what the server executes', () => {
    for (const setup of setups.filter(({ onRedis }) => onRedis)) {
      it(`is each release before the completion or failure of its job: ${setup.name}`, async () => {
        bench = await Bench.open(setup);
        const order: string[] = [];
        // Read from the socket: ioredis 6 does not understand the replies to a MONITOR.
        const monitor = connect(redisOptions());
        const lines = createInterface(monitor).on('line', line => {
          if (line.includes('"DEL"') && line.includes(bench.queueName)) {
            for (const [, key] of line.matchAll(/::once:1:k-(\d+)"/g)) order.push(`released ${key}`);
          }
          if (!line.includes(`"bull:${bench.queueName}:events"`)) return;
          const ended = /"event" "(completed|failed)" "jobId" "(\w+)"/.exec(line);
          if (ended) order.push(`${ended[1]} ${ended[2]}`);
        });
        monitor.write('MONITOR\r\n');
        await once(lines, 'line');
        await bench.worker(
          onceProcessor(
            async job => {
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
});
