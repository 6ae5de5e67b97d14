/** The options of node-redis and of Valkey GLIDE that change how commands are sent, queued, answered or failed. */

import {
  Decoder,
  GlideClient,
  type GlideClientConfiguration,
  Logger,
  ProtocolVersion,
} from '@valkey/valkey-glide';
import { createValkeyGlideClient } from 'bullmq';
import { expect } from 'chai';
import { createClient, createClientPool, RESP_TYPES, type RedisClientOptions } from 'redis';
import { RedisCache } from '../../../src/index.ts';
import { redisOptions, redisUrl } from '../../support/index.ts';
import { answersOf, EXPECTED_ANSWERS } from './answers.ts';
import { completedBeforeReleased } from './release-order.ts';
import { ALL_WELL, runUnderLoad } from './worker-under-load.ts';

// It warns of each connection that is closed.
Logger.setLoggerConfig('off');

type Options = RedisClientOptions<any, any, any, any, any>;

const AS_STRINGS = { [RESP_TYPES.NUMBER]: String };
const AS_BUFFERS = { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.SIMPLE_STRING]: Buffer };

const OPTIONS: Readonly<Record<string, Options>> = {
  'no options': {},
  'RESP 2': { RESP: 2 },
  'RESP 3': { RESP: 3 },
  disableOfflineQueue: { disableOfflineQueue: true },
  'pingInterval: 20': { pingInterval: 20 },
  'commandsQueueMaxLength: 500': { commandsQueueMaxLength: 500 },
  'commandOptions.timeout: 5000': { commandOptions: { timeout: 5000 } as never },
  'commandOptions.asap': { commandOptions: { asap: true } },
  'reconnectStrategy: false': { socket: { reconnectStrategy: false } },
  'noDelay: false': { socket: { noDelay: false } },
  'keepAlive: false': { socket: { keepAlive: false } },
  'socketTimeout: 20000': { socket: { socketTimeout: 20_000 } },
  'a name': { name: 'a-name-of-the-user' },
  'a database': { database: 4 },
  disableClientInfo: { disableClientInfo: true },
  'maintNotifications: disabled': { maintNotifications: 'disabled' },
  emitInvalidate: { emitInvalidate: true },
  clientSideCache: { RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: 'LRU' } },
};

/** BullMQ itself does not understand its scripts' replies under these: only locks are tried. */
const NOT_FOR_BULLMQ: Readonly<Record<string, Options>> = {
  'numbers as strings': { commandOptions: { typeMapping: AS_STRINGS } },
  'strings as buffers': { commandOptions: { typeMapping: AS_BUFFERS } },
  'numbers as strings, strings as buffers': {
    commandOptions: { typeMapping: { ...AS_STRINGS, ...AS_BUFFERS } },
  },
  'numbers as strings, strings as buffers, in RESP 2': {
    RESP: 2,
    commandOptions: { typeMapping: { ...AS_STRINGS, ...AS_BUFFERS } },
  },
};

const GLIDE_OPTIONS: Readonly<Record<string, Partial<GlideClientConfiguration>>> = {
  'no options': {},
  'RESP 2': { protocol: ProtocolVersion.RESP2 },
  'RESP 3': { protocol: ProtocolVersion.RESP3 },
  'requestTimeout: 5000': { requestTimeout: 5000 },
  'inflightRequestsLimit: 200': { inflightRequestsLimit: 200 },
  'a client name': { clientName: 'a-name-of-the-user' },
  'a database': { databaseId: 5 },
  lazyConnect: { lazyConnect: true },
  'readFrom: primary': { readFrom: 'primary' },
};

const opened: { close(): unknown }[] = [];
afterEach(() => {
  for (const client of opened.splice(0)) client.close();
});

function create(options: Options) {
  const client = createClient({ url: redisUrl(), ...options } as Options);
  client.on('error', () => {});
  opened.push({ close: () => client.isOpen && client.destroy() });
  return client;
}

describe('A guarded worker on a node-redis client', () => {
  for (const [name, options] of Object.entries(OPTIONS)) {
    it(`runs all jobs of a key one at a time and leaves no lock (${name})`, async () => {
      const client = create(options);

      expect(await runUnderLoad(client, { db: options.database })).to.deep.equal(ALL_WELL);
    });
  }
});

describe('A guarded worker on a Valkey GLIDE client', () => {
  for (const [name, options] of Object.entries(GLIDE_OPTIONS)) {
    it(`runs all jobs of a key one at a time and leaves no lock (${name})`, async () => {
      const client = createValkeyGlideClient((await createGlide(options)) as never);

      expect(await runUnderLoad(client, { db: options.databaseId })).to.deep.equal(ALL_WELL);
    });
  }
});

describe('A RedisCache on a node-redis client', () => {
  for (const [name, options] of Object.entries({ ...OPTIONS, ...NOT_FOR_BULLMQ })) {
    it(`answers each step (${name})`, async () => {
      const client = await create(options).connect();

      expect(await answersOf(new RedisCache(client as never))).to.deep.equal(EXPECTED_ANSWERS);
    });
  }

  it('answers each step (by a view of the client with a type mapping of its own)', async () => {
    const client = await create({}).connect();
    const view = client.withTypeMapping({ ...AS_STRINGS, ...AS_BUFFERS });

    expect(await answersOf(new RedisCache(view as never))).to.deep.equal(EXPECTED_ANSWERS);
  });

  it('answers each step (by a pool of clients, whose releases nobody is notified of)', async () => {
    const pool = createClientPool({ url: redisUrl() }, { maximum: 3 });
    await pool.connect();
    opened.push({ close: () => pool.destroy() });

    const answers = await answersOf(new RedisCache(pool as never), { notifies: false });

    expect(answers).to.deep.equal({ ...EXPECTED_ANSWERS, notified: false });
  });

  it('refuses a client with a keyPrefix', () => {
    expect(() => new RedisCache(create({ keyPrefix: 'mine:' }) as never)).to.throw(
      TypeError,
      /keyPrefix 'mine:'/,
    );
  });
});

describe('A RedisCache on a Valkey GLIDE client', () => {
  for (const [name, options] of Object.entries({
    ...GLIDE_OPTIONS,
    'replies as bytes': { defaultDecoder: Decoder.Bytes },
    'replies as strings': { defaultDecoder: Decoder.String },
  })) {
    it(`answers each step (${name})`, async () => {
      const cache = new RedisCache(await createGlide(options));

      const answers = await answersOf(cache, { notifies: false });

      expect(answers).to.deep.equal({ ...EXPECTED_ANSWERS, notified: false });
    });
  }
});

describe('The key of a job that has finished', () => {
  for (const name of ['no options', 'commandOptions.asap']) {
    it(`is released on the server before BullMQ records the completion (node-redis, ${name})`, async () => {
      const client = create(OPTIONS[name] as Options);

      expect(await completedBeforeReleased(client)).to.deep.equal([]);
    });
  }
});

async function createGlide(options: Partial<GlideClientConfiguration>): Promise<GlideClient> {
  const client = await GlideClient.createClient({ addresses: [redisOptions()], ...options });
  opened.push(client);
  return client;
}
