/** `@onceProcessor` and `@once`, by the standard's decorators and by TypeScript's legacy ones. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { MemoryCache, onceProcessor } from '../../src/index.ts';
import * as standard from '../fixtures/legacy-decorators/emails.ts';
import { Bench, plainJob } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

type Emails = standard.Emails;

/** Loads the file again, as its own tsconfig says. */
async function loadLegacy(): Promise<typeof standard> {
  const folder = new URL('../fixtures/legacy-decorators/', import.meta.url);
  const { tsImport } = await import('tsx/esm/api');
  return tsImport('./emails.ts', {
    parentURL: folder.href,
    tsconfig: new URL('tsconfig.json', folder).pathname,
  });
}

const systems = [
  { system: "the standard's decorators", load: async () => standard, argumentCount: 2 },
  { system: 'legacy decorators', load: loadLegacy, argumentCount: 3 },
];

for (const { system, load, argumentCount } of systems) {
  describe(`a class with ${system}`, () => {
    let loaded: typeof standard;
    let bench: Bench;
    before(async () => {
      loaded = await load();
    });
    beforeEach(async () => {
      bench = await Bench.open();
    });
    afterEach(() => bench.close());

    const job = (userId: number) => plainJob(`job-${userId}`, { data: { userId } });

    /** Adds jobs for users 1, 1 and 2 while the method waits, then lets it go on. Resolves to their results. */
    async function runThree(
      emails: Emails,
      method: 'withoutOptions' | 'withOptions' | 'withOptionsOfTheInstance',
    ): Promise<unknown[]> {
      const gate = deferred();
      emails.gate = gate.promise;
      await bench.worker(emails[method].bind(emails), { concurrency: 5 });
      const first = await bench.add({ userId: 1 });
      await until(() => emails.sent.length === 1);
      const duplicate = await bench.add({ userId: 1 });
      const other = await bench.add({ userId: 2 });
      await bench.ended(duplicate);
      await until(() => emails.sent.length === 2);
      gate.resolve();
      return Promise.all([first, duplicate, other].map(one => bench.result(one)));
    }

    it('is compiled by these rules', () => {
      expect(loaded.argumentsOfDecorators).to.have.length(argumentCount);
    });

    it('runs one of the jobs with equal data at a time under @onceProcessor()', async () => {
      const emails = new loaded.Emails();

      const results = await runThree(emails, 'withoutOptions');

      expect(results).to.deep.equal(['sent to user 1', null, 'sent to user 2']);
    });

    it('runs one of the jobs with a key at a time under @onceProcessor({ key })', async () => {
      const emails = new loaded.Emails();

      const results = await runThree(emails, 'withOptions');

      expect(results).to.deep.equal(['sent to user 1', null, 'sent to user 2']);
    });

    it('reads the options of an instance once, at its first job', async () => {
      const emails = new loaded.Emails({ key: 'welcome-{userId}' });
      expect(emails.reads).to.equal(0);

      const results = await runThree(emails, 'withOptionsOfTheInstance');

      expect(emails.reads).to.equal(1);
      expect(results).to.deep.equal(['sent to user 1', null, 'sent to user 2']);
    });

    it('passes the signal to a method that declares it', async () => {
      const emails = new loaded.Emails({ cache: new MemoryCache() });

      await emails.withOptionsOfTheInstance(job(1));

      expect(emails.signal?.aborted).to.equal(false);
    });

    it('has options for each of its instances', async () => {
      const cache = new MemoryCache();
      const oneByOne = new loaded.Emails({ key: 'all', cache });
      const byUser = new loaded.Emails({ key: 'user-{userId}', cache });

      for (const emails of [oneByOne, byUser]) {
        await Promise.all([1, 2].map(userId => emails.withOptionsOfTheInstance(job(userId))));
      }

      expect(oneByOne.sent).to.deep.equal(['user 1']);
      expect(byUser.sent).to.deep.equal(['user 1', 'user 2']);
    });

    it('fails the jobs of an instance whose options are wrong, until they are right', async () => {
      const emails = new loaded.Emails({ ttl: -1 });
      await bench.worker(emails.withOptionsOfTheInstance.bind(emails));

      const failure = await bench.failure(await bench.add({ userId: 1 }));
      emails.options = {};
      const result = await bench.result(await bench.add({ userId: 2 }));

      expect(failure).to.match(/^onceProcessor: option 'ttl' must be a whole number of milliseconds/);
      expect(result).to.equal('sent to user 2');
    });

    it('skips a call of a method under @once whose key is held', async () => {
      const emails = new loaded.Emails();

      const results = await Promise.all([1, 1, 2].map(id => emails.invoice(id)));

      expect(results).to.deep.equal(['sent to invoice 1', undefined, 'sent to invoice 2']);
      expect(emails.sent).to.deep.equal(['invoice 1', 'invoice 2']);
    });
  });
}

describe('onceProcessor with a function alone', () => {
  it('makes a processor', async () => {
    const bench = await Bench.open();
    const gate = deferred();
    const started: unknown[] = [];
    const processor = onceProcessor(async (job: Job) => {
      started.push(job.id);
      await gate.promise;
      return `sent to user ${job.data.userId}`;
    });
    await bench.worker(processor, { concurrency: 5 });

    const first = await bench.add({ userId: 1 });
    await until(() => started.length === 1);
    const duplicate = await bench.add({ userId: 1 });
    await bench.ended(duplicate);
    gate.resolve();

    expect(await bench.result(first)).to.equal('sent to user 1');
    expect(await bench.result(duplicate)).to.equal(null);
    expect(started).to.deep.equal([first.id]);
    await bench.close();
  });

  it('declares a signal to BullMQ only if the processor does', () => {
    expect(onceProcessor(async () => {})).to.have.length(2);
    expect(onceProcessor(async (_job, _token, _signal) => {})).to.have.length(3);
  });

  it('refuses to decorate what is no method', () => {
    const decorate = onceProcessor((emails: Emails) => emails.options) as (...args: unknown[]) => unknown;

    expect(() => decorate({}, 'name', { configurable: true, get: () => 1 })).to.throw(
      TypeError,
      '@onceProcessor decorates methods',
    );
  });
});
