import { type Job, Queue } from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import pg from 'pg';
import { Lock, onceProcessor, RedisCache } from '../../src/index.ts';
import { queueName } from '../../src/key/stored-name.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { Bench, setupNamed } from '../support/bullmq.ts';
import { connectRedis, redisOptions, redisUrl, uniqueName } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { sharedPostgres } from '../support/shared-servers.ts';
import { cli, OwnScope, parseLines } from './run-cli.ts';

const redis = () => ['--redis', redisUrl()];

describe('bullmq-once --queue, on Redis', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  it('takes the name of a queue, and the name with its prefix that the list shows', async () => {
    const { finish } = await bench.hold();
    const { queueName } = bench;

    const plain = await cli('list', '--queue', queueName, '--json', ...redis());
    const [{ queue }] = parseLines(plain.out);
    const qualified = await cli('list', '--queue', queue, '--json', ...redis());
    const shown = await cli('show', 'k', '--queue', queue, ...redis());
    const released = await cli('force-release', 'k', '--queue', queue, '--yes', ...redis());
    await finish();

    expect(queue).to.equal(`bull:${queueName}`);
    expect(parseLines(qualified.out).map(lock => lock.key)).to.deep.equal(['k']);
    expect(shown.code).to.equal(0);
    expect(released).to.include({ code: 0, out: "'k' was released\n" });
  });

  it('takes the name of a queue with another prefix (--prefix, or before the name)', async () => {
    const prefix = uniqueName('{a:b}');
    const queue = new Queue('emails', { connection: redisOptions(), prefix });
    await queue.waitUntilReady();
    const cache = new RedisCache(connectRedis());
    const processor = onceProcessor(
      (job: Job) =>
        Promise.all([
          cli('list', '--queue', 'emails', '--prefix', prefix, '--json', ...redis()),
          cli('list', '--queue', job.queueQualifiedName, '--json', ...redis()),
        ]),
      { key: 'k', cache },
    );
    const job = await queue.add('job', {});
    const ends = (await processor(job)) as { out: string }[];
    await queue.obliterate({ force: true });
    await queue.close();

    for (const { out } of ends)
      expect(parseLines(out)[0]).to.include({ key: 'k', queue: `${prefix}:emails` });
  });

  it('says that no locks are held where the queue exists', async () => {
    const names = [bench.queueName, `bull:${bench.queueName}`];

    for (const name of names) {
      const ended = await cli('list', '--queue', name, ...redis());

      expect(ended).to.include({
        code: 0,
        out: 'no locks are held (locks of a scope: give --scope instead of --queue)\n',
      });
    }
  });

  it('says that there is no such queue, whatever the command', async () => {
    const commands = [
      ['list'],
      ['list', '--json'],
      ['show', 'k'],
      ['force-release', 'k', '--yes'],
      ['watch'],
    ];
    const ends = await Promise.all(commands.map(command => cli(...command, '--queue', 'emials', ...redis())));

    for (const { code, out, err } of ends) {
      expect({ code, out }).to.deep.equal({ code: 1, out: '' });
      expect(err).to.match(
        /^bullmq-once: there is no queue 'emials' with prefix 'bull'; queues that have locks: .+\n$/,
      );
    }
  });

  it('knows a queue that has locks and nothing else in the datastore, as where its processor has a cache', async () => {
    const client = connectRedis();
    const name = uniqueName('queue');
    const key = queueName(name, 'k');
    await new RedisCache(client).acquire([
      { storedKey: key, token: 't', owner: `${name}:1@1`, attempt: 1, ttl: 60_000 },
    ]);

    const { code, out } = await cli('list', '--queue', name, '--json', ...redis());
    await client.del(key);
    client.disconnect();

    expect(code).to.equal(0);
    expect(parseLines(out)[0]).to.include({ key: 'k', queue: name });
  });
});

describe('bullmq-once --queue, of a queue that does not exist', () => {
  let server: RedisServer;
  let client: Redis;
  before(async () => {
    server = await RedisServer.start();
    client = new Redis(server.port);
  });
  after(async () => {
    client.disconnect();
    await server.stop();
  });

  async function errorOf(...args: string[]): Promise<string> {
    return (await cli('list', '--redis', server.url, ...args)).err;
  }

  it('names the queues that have locks: none, all, or twenty and how many more', async () => {
    const hold = (queue: string) => client.set(queueName(queue, 'k'), 'a value');
    const none = await errorOf('--queue', 'emials');
    await Promise.all(['bull:emails', 'imports', 'other:emails'].map(hold));
    const some = await errorOf('--queue', 'bull:emials');
    await Promise.all(Array.from({ length: 19 }, (_, i) => hold(`z:${i + 10}`)));
    const many = await errorOf('--queue', 'emails', '--prefix', 'otter');

    const zs = Array.from({ length: 17 }, (_, i) => `z:${i + 10}`);
    expect(none).to.equal(
      "bullmq-once: there is no queue 'emials' with prefix 'bull'; queues that have locks: none\n",
    );
    expect(some).to.equal(
      "bullmq-once: there is no queue 'bull:emials'; queues that have locks: bull:emails, imports, other:emails\n",
    );
    expect(many).to.equal(
      "bullmq-once: there is no queue 'emails' with prefix 'otter'; queues that have locks: " +
        `bull:emails, imports, other:emails, ${zs.join(', ')} … and 2 more\n`,
    );
  });
});

describe('bullmq-once --queue, on PostgreSQL', () => {
  it('takes the name of a queue, and says so where there is none', async () => {
    const { url } = await sharedPostgres();
    const bench = await Bench.open(setupNamed('BullMQ 6 on PostgreSQL'));
    const { finish } = await bench.hold();
    const postgres = ['--postgres', url];

    const held = await cli('list', '--queue', bench.queueName, '--json', ...postgres);
    const misspelt = await cli('list', '--queue', `${bench.queueName}x`, ...postgres);
    await finish();
    const empty = await cli('list', '--queue', bench.queueName, ...postgres);
    await bench.close();

    expect(parseLines(held.out)[0]).to.include({ key: 'k', queue: bench.queueName });
    expect(misspelt).to.include({ code: 1, out: '' });
    expect(misspelt.err).to.include(`there is no queue '${bench.queueName}x'; queues that have locks: `);
    expect(empty).to.include({
      code: 0,
      out: 'no locks are held (locks of a scope: give --scope instead of --queue)\n',
    });
  });

  it('says so where the database has locks and no BullMQ', async () => {
    const { url } = await sharedPostgres();
    const schema = `s${Date.now()}`;
    const pool = new pg.Pool({ connectionString: url });
    const handle = await new Lock('k', { cache: new PostgresCache(pool, { schema }) }).acquire();

    const ended = await cli('list', '--queue', 'emails', '--postgres', url, '--schema', schema);
    await handle.release();
    await pool.end();

    expect(ended.code).to.equal(1);
    expect(ended.err).to.include("there is no queue 'emails'; queues that have locks: none\n");
  });
});

describe('bullmq-once --scope', () => {
  it('says that no locks are held in a scope that was never used: no datastore knows which scopes there are', async () => {
    const own = new OwnScope();

    const ended = await cli('list', ...own.args);
    own.close();

    expect(ended).to.include({ code: 0, out: 'no locks are held\n' });
  });
});
