/** What no journal has written hides nothing of it. */

import { expect } from 'chai';
import { RedisCache } from '../../../src/index.ts';
import { journalName } from '../../../src/key/journal-name.ts';
import { connectRedis, uniqueName } from '../../support/index.ts';

describe('A journal in Redis', () => {
  it('passes over entries that it has not written', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const queue = `bull:${uniqueName('queue')}`;
    const duplicate = { at: Date.now(), jobId: '17', key: 'k', outcome: 'skipped', observed: false } as const;
    await cache.writeJournal([{ queue, counts: [], duplicates: [duplicate] }]);
    await redis.lpush(journalName(queue, 'duplicates'), 'garbage', 'null', '[]', '{"at":1}', '"text"');

    const { duplicates } = await cache.readJournal(queue);
    redis.disconnect();

    expect(duplicates).to.deep.equal([duplicate]);
  });
});
