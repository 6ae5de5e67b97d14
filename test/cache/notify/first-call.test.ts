/** Whoever begins to listen to a key is called once: what it listens to may have happened just before. */

import { expect } from 'chai';
import { allCaches } from '../../support/caches.ts';
import { uniqueName, until } from '../../support/index.ts';

/** A GLIDE client opens no connection of its kind: nothing is notified there. */
const listening = allCaches.filter(({ name }) => !name.includes('GLIDE'));

for (const { name, create } of listening) {
  describe(`A listener of a cache (${name})`, () => {
    it('is called once when it begins to listen', async () => {
      const { cache, close } = await create();
      const calls: string[] = [];

      const first = cache.listen?.(uniqueName(), () => calls.push('first'));
      const second = cache.listen?.(uniqueName(), () => calls.push('second'));
      await until(() => calls.includes('first') && calls.includes('second'), 'both were called', 5_000);

      expect(calls).to.have.length(2);
      first?.stop();
      second?.stop();
      await close?.();
    });
  });
}
