/** The options of ioredis that change how commands are sent, queued, answered or failed. */

import { expect } from 'chai';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5';
import { RedisCache } from '../../../src/index.ts';
import { redisOptions, uniqueName, until } from '../../support/index.ts';
import { sharedCluster } from '../../support/shared-servers.ts';
import { acquireStep, releaseStep } from '../../support/steps.ts';
import { answersOf, EXPECTED_ANSWERS } from './answers.ts';
import { completedBeforeReleased } from './release-order.ts';
import { ALL_WELL, runUnderLoad } from './worker-under-load.ts';

const READONLY_ONLY = (error: Error) => (error.message.startsWith('READONLY') ? 2 : false);

const AUTO_PIPELINING: readonly RedisOptions[] = [
  { enableAutoPipelining: false },
  { enableAutoPipelining: true },
  { enableAutoPipelining: true, autoPipeliningIgnoredCommands: ['evalsha', 'eval'] },
];

const OPTIONS: readonly RedisOptions[] = [
  ...AUTO_PIPELINING,
  { commandTimeout: 2000 },
  { enableOfflineQueue: false },
  { lazyConnect: true },
  { lazyConnect: true, enableAutoPipelining: true },
  { maxRetriesPerRequest: 0 },
  { maxRetriesPerRequest: null },
  { autoResendUnfulfilledCommands: false },
  { autoResubscribe: false },
  { retryStrategy: () => null },
  { reconnectOnError: READONLY_ONLY },
  { keepAlive: 1000 },
  { noDelay: false },
  { connectionName: 'a name of the user' },
  { db: 3 },
  { enableReadyCheck: false },
  { socketTimeout: 20_000 },
  { disableClientInfo: true },
  { protocol: 2 },
  { protocol: 3, replyMapping: 'resp3' },
];

/** BullMQ itself misreads the numbers of its own scripts under these: only locks are tried. */
const NOT_FOR_BULLMQ: readonly RedisOptions[] = [
  { stringNumbers: true },
  { stringNumbers: true, enableAutoPipelining: true },
];

const VERSIONS = { 'ioredis 6': Redis, 'ioredis 5': Redis5 as unknown as typeof Redis };

const opened: { disconnect(): void }[] = [];
afterEach(() => {
  for (const client of opened.splice(0)) client.disconnect();
});

function connect(version: keyof typeof VERSIONS, options: RedisOptions): Redis {
  const all: RedisOptions = { ...redisOptions(), maxRetriesPerRequest: null, ...options };
  const client = new VERSIONS[version](all as { host: string });
  client.on('error', () => {});
  opened.push(client);
  return client;
}

const show = (options: RedisOptions) =>
  JSON.stringify(options, (_, value) => (typeof value === 'function' ? 'a function' : value));

describe('A guarded worker on options for ioredis', () => {
  for (const options of OPTIONS) {
    it(`runs all jobs of a key one at a time and leaves no lock (${show(options)})`, async () => {
      const connection = { ...redisOptions(), ...options };

      expect(await runUnderLoad(connection, options)).to.deep.equal(ALL_WELL);
    });
  }
});

for (const version of ['ioredis 6', 'ioredis 5'] as const) {
  describe(`A guarded worker on an instance of ${version}`, () => {
    for (const options of OPTIONS) {
      it(`runs all jobs of a key one at a time and leaves no lock (${show(options)})`, async () => {
        const connection = connect(version, options);

        expect(await runUnderLoad(connection, options)).to.deep.equal(ALL_WELL);
      });
    }
  });

  describe(`A RedisCache on ${version}`, () => {
    for (const options of [...OPTIONS, ...NOT_FOR_BULLMQ]) {
      it(`answers each step, and notifies of releases (${show(options)})`, async () => {
        const client = connect(version, options);
        // A client without an offline queue takes no command before it is ready.
        if (!options.lazyConnect) await until(() => client.status === 'ready');

        expect(await answersOf(new RedisCache(client))).to.deep.equal(EXPECTED_ANSWERS);
      });
    }
  });

  describe(`The key of a job that has finished (${version})`, () => {
    for (const options of AUTO_PIPELINING) {
      it(`is released on the server before BullMQ records the completion (${show(options)})`, async () => {
        expect(await completedBeforeReleased(connect(version, options))).to.deep.equal([]);
      });
    }
  });
}

for (const [name, ClusterClass] of [
  ['ioredis 6', Cluster],
  ['ioredis 5', Cluster5 as unknown as typeof Cluster],
] as const) {
  describe(`Locks on a cluster by ${name}`, () => {
    for (const enableAutoPipelining of [false, true]) {
      it(`are acquired and released in all slots in the same moment (enableAutoPipelining: ${enableAutoPipelining})`, async () => {
        const { nodes } = await sharedCluster();
        const client = new ClusterClass(nodes, { enableAutoPipelining });
        opened.push(client);
        const cache = new RedisCache(client as never);
        const steps = Array.from({ length: 60 }, () => acquireStep());
        const tagged = Array.from({ length: 20 }, (_, i) =>
          acquireStep({ storedKey: `{a}${uniqueName()}${i}` }),
        );

        const [one, two, three] = await Promise.all([
          cache.acquire(steps.slice(0, 30)),
          cache.acquire(steps.slice(30)),
          cache.acquire(tagged),
        ]);
        const released = await cache.release([...steps, ...tagged].map(step => releaseStep(step)));

        const notAcquired = [...one, ...two, ...three].filter(
          result => result instanceof Error || !result.acquired,
        );
        expect(notAcquired).to.deep.equal([]);
        expect(released.filter(answer => answer !== true)).to.deep.equal([]);
      });
    }
  });
}
