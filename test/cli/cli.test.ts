/** `npx bullmq-once`, in a process of its own. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import pg from 'pg';
import { Lock, onceProcessor, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { Bench } from '../support/bullmq.ts';
import { connectRedis, deferred, readDoc, redisUrl, uniqueName, until } from '../support/index.ts';
import { sharedCluster, sharedPostgres } from '../support/shared-servers.ts';

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const NODE = [process.execPath, '--import', 'tsx', MAIN] as const;

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function cli(...args: string[]): Promise<Ended> {
  const [node, ...first] = NODE;
  return new Promise(resolve => {
    const env = { ...process.env, REDIS_URL: '' };
    execFile(node, [...first, ...args], { env }, (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, out, err });
    });
  });
}

const jsons = (out: string) =>
  out
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line));

describe('npx bullmq-once', () => {
  let redis: Redis;
  let cache: RedisCache;
  let scope: string;
  let at: string[];
  beforeEach(() => {
    redis = connectRedis();
    cache = new RedisCache(redis);
    scope = uniqueName('scope');
    at = ['--redis', redisUrl(), '--scope', scope];
  });
  afterEach(() => redis.disconnect());

  const hold = (key: string, options: object = {}) =>
    new Lock(key, { cache, scope, owner: `owner of ${key}`, ...options }).acquire();

  it('lists the locks that are held, for people and as JSON', async () => {
    const held = [await hold('b'), await hold('a')];

    const { code, out } = await cli('list', ...at);
    const json = jsons((await cli('list', ...at, '--json')).out);
    const some = jsons((await cli('list', ...at, '--json', '--starts-with', 'b')).out);
    for (const lock of held) await lock.release();

    expect(code).to.equal(0);
    const lines = out.split('\n').map(line => line.split(/ {2,}/));
    expect(lines[0]).to.deep.equal(['KEY', 'OF', 'STATE', 'HOLDER', 'SINCE', 'LEFT']);
    expect(lines[1]?.slice(0, 4)).to.deep.equal(['a', `scope ${scope}`, 'running', 'owner of a']);
    expect(lines[1]?.[5]).to.match(/^(29|30|2\d) s$/);
    expect(json.map(({ key }) => key)).to.deep.equal(['a', 'b']);
    expect(json[0]).to.include({ scope, state: 'running', owner: 'owner of a', fence: held[1]?.fence });
    expect(some.map(({ key }) => key)).to.deep.equal(['b']);
  });

  it('says so where none is held', async () => {
    expect(await cli('list', ...at)).to.include({ code: 0, out: 'no locks are held\n' });
    expect(await cli('show', 'k', ...at)).to.include({ code: 1, out: "'k' is not held\n" });
    expect(await cli('release', 'k', ...at, '--yes')).to.include({ code: 1, out: "'k' is not held\n" });
  });

  it("shows one, of a queue with its job's id", async () => {
    const bench = await Bench.open();
    const processing = deferred();
    const gate = deferred();
    await bench.worker(
      onceProcessor(
        async () => {
          processing.resolve();
          await gate.promise;
        },
        { key: 'k' },
      ),
    );
    const job = await bench.add({});
    await processing.promise;

    const named = await cli('show', 'k', '--redis', redisUrl(), '--queue', bench.queueName);
    const listed = jsons(
      (await cli('list', '--redis', redisUrl(), '--queue', bench.queueName, '--json')).out,
    );
    gate.resolve();
    await bench.ended(job);
    await bench.close();

    expect(named.code).to.equal(0);
    expect(named.out).to.match(/^key {8}k\nof {9}bull:queue-.*\nstate {6}running\njob {8}1\n/);
    expect(named.out).to.match(/\nstored as {2}bull:queue-.*::once:1:k\n$/);
    expect(listed).to.have.length(1);
    expect(listed[0]).to.include({ jobId: job.id, key: 'k' });
  });

  it('lets go of a lock by hand, and asks before unless it is told not to', async () => {
    const lock = await hold('k', { ttl: 120 });

    const asked = await cli('release', 'k', ...at);
    const still = lock.held;
    const meant = await cli('release', 'k', 'other', ...at, '--yes');
    await until(() => lock.signal.aborted);

    expect(asked).to.include({ code: 2 });
    expect(asked.err).to.match(/nobody can answer here; give --yes/);
    expect(still).to.equal(true);
    expect(meant.out).to.equal("'other' is not held\n'k' was let go of\n");
    expect(meant.code).to.equal(1);
    expect(lock.signal.reason).to.include({ why: 'taken-over' });
  });

  it('finds a key in whichever queue or scope it is, and will not guess which is meant', async () => {
    const key = uniqueName('k');
    const [one, two] = [await hold(key), await new Lock(key, { cache, scope: `${scope}-2` }).acquire()];
    const everywhere = ['--redis', redisUrl()];

    const shown = jsons((await cli('show', key, ...everywhere, '--json')).out);
    const unclear = await cli('release', key, ...everywhere, '--yes');
    await one.release();
    const clear = await cli('release', key, ...everywhere, '--yes');

    expect(shown.map(info => info.scope)).to.deep.equal([scope, `${scope}-2`]);
    expect(unclear).to.include({ code: 2 });
    expect(unclear.err).to.match(/held more than once; say which with --queue or --scope/);
    expect(clear).to.include({ code: 0, out: `'${key}' was let go of\n` });
    await two.release();
  });

  it('watches until it is stopped', async () => {
    const lock = await hold('watched');
    const [node, ...first] = NODE;
    const child = spawn(node, [...first, 'watch', ...at, '--every', '0.1']);
    let out = '';
    child.stdout.on('data', data => {
      out += data;
    });

    await until(() => out.match(/watched/g)?.length === 2);
    await lock.release();
    await until(() => out.endsWith('no locks are held\n'));
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');

    expect(code).to.equal(0);
  });

  it('never prints what a terminal would obey', async () => {
    const lock = await hold('\u001b[2J\u202ek\n');

    const { out } = await cli('list', ...at);
    await lock.release();

    expect(out).to.include('\\u{1b}[2J\\u{202e}k\\u{a}');
    for (const obeyed of ['\u001b', '\u202e']) expect(out).not.to.include(obeyed);
  });

  it('finds those of PostgreSQL', async () => {
    const { url } = await sharedPostgres();
    const pool = new pg.Pool({ connectionString: url });
    const lock = await new Lock('k', { cache: new PostgresCache(pool), scope }).acquire();

    const json = jsons((await cli('list', '--postgres', url, '--scope', scope, '--json')).out);
    const released = await cli('release', 'k', '--postgres', url, '--scope', scope, '--yes');
    await lock.release();
    await pool.end();

    expect(json[0]).to.include({ key: 'k', scope, state: 'running' });
    expect(released).to.include({ code: 0, out: "'k' was let go of\n" });
  });

  it('finds those of a Redis Cluster', async () => {
    const cluster = await sharedCluster();
    const client = cluster.connect();
    const lock = await new Lock('k', { cache: new RedisCache(client as never), scope }).acquire();
    const url = `redis://127.0.0.1:${cluster.nodes[0]?.port}`;

    const { out } = await cli('list', '--redis', url, '--cluster', '--scope', scope, '--json');
    await lock.release();
    client.disconnect();

    expect(jsons(out)[0]).to.include({ key: 'k', scope });
  });

  it('says what it needs, and never a password', async () => {
    const secret = 's3cret';
    const refused = await Promise.all([
      cli('list', '--redis', `redis://user:${secret}@127.0.0.1:1`),
      cli('list', '--postgres', `postgres://user:${secret}@127.0.0.1:1/db`),
    ]);
    const wrong = await Promise.all([
      cli('list', '--redis', `user:${secret}@127.0.0.1`),
      cli('lsit'),
      cli('show'),
      cli('list', 'k'),
      cli('list', '--state', 'held'),
      cli('list', '--queue', 'a', '--scope', 'b'),
      cli('list', '--nope'),
      cli('watch', '--every', '0'),
    ]);

    for (const { code, out, err } of refused) {
      expect(code).to.equal(3);
      expect(err).to.match(/^bullmq-once: .*ECONNREFUSED/);
      expect(out + err).not.to.include(secret);
    }
    for (const { code, out, err } of wrong) {
      expect(code, err).to.equal(2);
      expect(err).to.match(/^bullmq-once: .*; see bullmq-once --help\n$/);
      expect(out + err).not.to.include(secret);
    }
    expect(wrong[1]?.err).to.include("no command 'lsit'; there are: list, show, release, watch");
  });

  it('tells how it is used, and its version', async () => {
    const { version } = JSON.parse(await readDoc('package.json'));

    expect((await cli('--version')).out).to.equal(`${version}\n`);
    expect((await cli('--help')).out).to.match(/^Looks at the locks/);
    expect((await cli()).out).to.equal((await cli('--help')).out);
  });
});
