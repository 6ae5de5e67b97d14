/** The journals of queues, in every cache that keeps them. */

import { expect } from 'chai';
import { MAX_DUPLICATES, MINUTE_MS, minuteOf } from '../../src/cache/journal-rules.ts';
import type { DuplicateRecord, LockCache, OutcomeCount } from '../../src/index.ts';
import { allCaches, type CacheEntry } from '../support/caches.ts';
import { uniqueName } from '../support/index.ts';

type KeepingJournals = LockCache & Required<Pick<LockCache, 'writeJournal' | 'readJournal'>>;

const QUEUES = { 'a queue': 'bull', 'a queue whose prefix has a hash tag': '{bull}' };

/** A store with `get`, `set` and `delete` keeps none. */
const keepsJournals = ({ name }: CacheEntry) => !name.startsWith('KeyValueCache');

for (const { name, create } of allCaches.filter(keepsJournals)) {
  for (const [which, prefix] of Object.entries(QUEUES)) {
    describe(`The journal of ${which} (${name})`, () => {
      let cache: KeepingJournals;
      let close: (() => unknown) | undefined;
      let queue: string;
      before(async () => {
        const created = await create();
        ({ close } = created);
        cache = created.cache as KeepingJournals;
      });
      beforeEach(() => {
        queue = `${prefix}:${uniqueName('queue')}`;
      });
      after(() => close?.());

      const now = Date.now();
      const minute = minuteOf(now);

      function duplicate(jobId: string, more: Partial<DuplicateRecord> = {}): DuplicateRecord {
        return { at: now, jobId, key: 'k', outcome: 'skipped', observed: false, ...more };
      }

      function count(ago: number, added: number, outcome: OutcomeCount['outcome'] = 'skipped'): OutcomeCount {
        return { minute: minute - ago * MINUTE_MS, outcome, count: added };
      }

      it('is empty where there were no duplicates', async () => {
        expect(await cache.readJournal(queue)).to.deep.equal({ counts: [], duplicates: [] });
      });

      it('gives back what was written', async () => {
        const holder = { state: 'running', owner: `${queue}:1@1`, jobId: '1', queueName: 'emails' } as const;
        const duplicates = [
          duplicate('2', { holder }),
          duplicate('"3"\n\\', { outcome: 'raised', observed: true, key: 'schlüssel-✓' }),
        ];

        await cache.writeJournal([{ queue, counts: [count(0, 2)], duplicates }]);

        expect(await cache.readJournal(queue)).to.deep.equal({ counts: [count(0, 2)], duplicates });
      });

      it('gives back what is hostile, and what stands beside it (NUL, half of a surrogate pair, __proto__)', async () => {
        const holder = {
          state: 'running',
          owner: `${queue}:\0@1`,
          jobId: '\0',
          queueName: 'emails',
        } as const;
        const duplicates = [
          duplicate('1'),
          duplicate('\0', { holder, key: 'a\0\\0' }),
          duplicate('\ud83d', { key: '\ude00' }),
          duplicate('__proto__', { key: '../x%00' }),
          duplicate(':once:1', { key: '::once:journal:1:' }),
        ];

        await cache.writeJournal([{ queue, counts: [count(0, 5)], duplicates }]);

        expect(await cache.readJournal(queue)).to.deep.equal({ counts: [count(0, 5)], duplicates });
      });

      it('adds up what several processes have counted, by the minute and the outcome', async () => {
        const page = { queue, counts: [count(0, 2), count(0, 1, 'raised'), count(90, 5)], duplicates: [] };
        await Promise.all([
          cache.writeJournal([page]),
          cache.writeJournal([page]),
          cache.writeJournal([page]),
        ]);

        const { counts } = await cache.readJournal(queue);

        expect(counts).to.deep.equal([count(90, 15), count(0, 3, 'raised'), count(0, 6)]);
      });

      it('gives back what a process has counted whose clock is an hour ahead', async () => {
        await cache.writeJournal([{ queue, counts: [count(-60, 3)], duplicates: [] }]);

        expect((await cache.readJournal(queue)).counts).to.deep.equal([count(-60, 3)]);
      });

      it('leaves out what was counted a day ago', async () => {
        const counts = [count(25 * 60, 1), count(23 * 60, 2)];
        await cache.writeJournal([{ queue, counts, duplicates: [] }]);

        expect((await cache.readJournal(queue)).counts).to.deep.equal([count(23 * 60, 2)]);
      });

      it('keeps the last duplicates only, the earliest first', async () => {
        const ids = Array.from({ length: MAX_DUPLICATES + 150 }, (_, i) => String(i));
        for (let i = 0; i < ids.length; i += 100) {
          const duplicates = ids.slice(i, i + 100).map(id => duplicate(id));
          await cache.writeJournal([{ queue, counts: [], duplicates }]);
        }

        const kept = (await cache.readJournal(queue)).duplicates.map(({ jobId }) => jobId);

        expect(kept).to.deep.equal(ids.slice(-MAX_DUPLICATES));
      });

      it('is of its queue alone', async () => {
        const other = `${prefix}:${uniqueName('queue')}`;
        await cache.writeJournal([
          { queue, counts: [count(0, 1)], duplicates: [duplicate('1')] },
          { queue: other, counts: [count(0, 2)], duplicates: [duplicate('2')] },
        ]);

        const { counts, duplicates } = await cache.readJournal(queue);

        expect([counts, duplicates]).to.deep.equal([[count(0, 1)], [duplicate('1')]]);
      });
    });
  }
}
