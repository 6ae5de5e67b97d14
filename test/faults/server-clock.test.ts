import { expect } from 'chai';
import { until } from '../support/index.ts';
import { ServerClock } from './server-clock.ts';
import { ClockedRedisStore } from './stores.ts';

// It takes a compiler to set the clock of a server.
if (ServerClock.isAvailable) {
  describe('The wall clock of a Redis', () => {
    let store: ClockedRedisStore;
    before(async () => {
      store = await ClockedRedisStore.openClocked();
    });
    after(() => store.close());

    const seconds = async () => Number(((await store.server.call('TIME')) as string[])[0]);

    it('is set an hour ahead and back while the server runs: what was to expire within the hour has', async () => {
      const before = await seconds();
      await store.server.call('SET', 'k', 'v', 'PX', 60_000);

      store.clock.set(3600);
      const ahead = await seconds();
      await until(async () => (await store.server.call('GET', 'k')) === null, 'the key has expired');
      store.clock.set(-3600);
      const behind = await seconds();

      expect(ahead - before).to.be.within(3600, 3630);
      expect(before - behind).to.be.within(3570, 3600);
    });
  });
}
