import { expect } from 'chai';
import pg from 'pg';
import { Lock, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { uniqueName } from '../support/index.ts';
import { sharedCluster, sharedPostgres } from '../support/shared-servers.ts';
import { cli, cliWithout, OwnScope, parseLines } from './run-cli.ts';

describe('bullmq-once', () => {
  it('lists and releases the locks of PostgreSQL (--postgres)', async () => {
    const { url } = await sharedPostgres();
    const pool = new pg.Pool({ connectionString: url });
    const scope = uniqueName('scope');
    const handle = await new Lock('k', { cache: new PostgresCache(pool), scope }).acquire();

    const json = parseLines((await cli('list', '--postgres', url, '--scope', scope, '--json')).out);
    const released = await cli('force-release', 'k', '--postgres', url, '--scope', scope, '--yes');
    await handle.release();
    await pool.end();

    expect(json[0]).to.include({ key: 'k', scope, state: 'running' });
    expect(released).to.include({ code: 0, out: "'k' was released\n" });
  });

  it('takes node-redis where ioredis is not installed', async () => {
    const own = new OwnScope();
    const handle = await own.hold('k');

    const listed = await cliWithout(['ioredis'], 'list', ...own.args, '--json');
    const unreachable = await cliWithout(['ioredis'], 'list', '--redis', 'redis://127.0.0.1:1');
    const none = await cliWithout(['ioredis', 'redis'], 'list', ...own.args);
    await handle.release();
    own.close();

    expect(parseLines(listed.out)[0]).to.include({ key: 'k', scope: own.scope });
    expect([unreachable.code, unreachable.err]).to.deep.equal([
      3,
      'bullmq-once: connect ECONNREFUSED 127.0.0.1:1\n',
    ]);
    expect([none.code, none.err]).to.deep.equal([
      3,
      'bullmq-once: no client of Redis is installed here: npm install ioredis, or redis; for locks in PostgreSQL give --postgres <url>\n',
    ]);
  });

  it('lists the locks of a Redis Cluster (--cluster)', async () => {
    const cluster = await sharedCluster();
    const client = cluster.connect();
    const scope = uniqueName('scope');
    const handle = await new Lock('k', { cache: new RedisCache(client as never), scope }).acquire();
    const url = `redis://127.0.0.1:${cluster.nodes[0]?.port}`;

    const { out } = await cli('list', '--redis', url, '--cluster', '--scope', scope, '--json');
    await handle.release();
    await client.set(`{bull}:${scope}:id`, 1, 'EX', 60);
    const inQueue = await cli('list', '--redis', url, '--cluster', '--queue', scope, '--prefix', '{bull}');
    const noQueue = await cli('list', '--redis', url, '--cluster', '--queue', 'emials');
    client.disconnect();

    expect(parseLines(out)[0]).to.include({ key: 'k', scope });
    expect(inQueue).to.include({
      code: 0,
      out: 'no locks are held (locks of a scope: give --scope instead of --queue)\n',
    });
    expect(noQueue.code).to.equal(1);
  });
});
