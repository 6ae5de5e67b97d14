/** Promise 6: whoever learns that a job has finished can't find its lock still held. */

import { expect } from 'chai';
import { onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, type Setup, setups } from '../support/bullmq.ts';
import { connectRedis } from '../support/index.ts';

const MOST_ROUNDS = 3000;
const ROUNDS = 500;

describe('a producer that waits for a job to finish, and at once adds its duplicate', () => {
  for (const setup of [...setups, undefined]) {
    it(`finds the key free every time: ${setup?.name ?? 'the locks are on a connection of their own'}`, async () => {
      const bench = new Bench(setup as Setup);
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
        if ((await bench.result(await bench.add({}, { removeOnComplete: true }))) !== true) skipped++;
      }

      expect(skipped).to.equal(0);
      expect(runs[0]! + runs[1]!).to.equal(rounds);
      await bench.close();
      own.disconnect();
    }).timeout(180_000);
  }
});
