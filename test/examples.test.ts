/** Each example runs as it stands. */

import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { redisUrl } from './support/index.ts';
import { freePort } from './support/redis-server.ts';

const folder = fileURLToPath(new URL('../examples/', import.meta.url));
const run = promisify(execFile);

const lines = (output: string) => output.trim().split('\n');

describe('examples', () => {
  const expected: Record<string, (output: string) => void> = {
    'quick-start.ts': output => {
      expect(output)
        .to.match(/^\d+ welcome, user 42$/m)
        .and.match(/^\d+ welcome, user 7$/m);
      expect(output.match(/skipped: someone is on it/g)).to.have.length(1);
    },
    'without-a-server.ts': output => {
      expect(output)
        .to.match(/^\d+ welcome, user 42$/m)
        .and.match(/^\d+ welcome, user 7$/m);
      expect(output.match(/skipped: someone is on it/g)).to.have.length(1);
    },
    'overlapping-schedules.ts': output => {
      const [, ran, skipped, most] = /ran (\d+), skipped (\d+), at most (\d+) at once/.exec(output) ?? [];
      expect(Number(ran)).to.be.above(1);
      expect(Number(skipped)).to.be.above(1);
      expect(most).to.equal('1');
    },
    'webhook-delivered-twice.ts': output => {
      expect(output).to.match(/delivery (first|second) is put off: lock 'payment-pay_1' is held by/);
      expect(output).to.match(/booked 1 time/);
    },
    'per-queue-caches.ts': output => {
      expect(output.trim().split('\n')).to.deep.equal(
        ['thumbnails', 'invoices', 'emails'].map(name => `${name}: skipped, worked, worked`),
      );
    },
    'put-off.ts': output => {
      expect(lines(output)).to.have.members([
        'export first, failed 0 times before',
        'export second, failed 0 times before',
      ]);
    },
    'wait-your-turn.ts': output => {
      expect(lines(output)).to.deep.equal(['alice has 160']);
    },
    'newest-wins.ts': output => {
      expect(lines(output)).to.deep.equal(['indexed versions 1 and 5']);
    },
    'ask-a-function.ts': output => {
      expect(lines(output)).to.deep.equal(['sales is under way for less than a minute', 'sales is ready']);
    },
    'hold-through-retries.ts': output => {
      expect(lines(output)).to.deep.equal([
        'first begins',
        'second: skipped',
        'first begins',
        'first: imported',
      ]);
    },
    'hung-job.ts': output => {
      expect(lines(output)).to.deep.equal([
        "lock 'download-https://example.org/big' is lost: it was held for as long as its maxHold allows, and is renewed no more",
        'downloaded',
      ]);
    },
    'run-unguarded.ts': output => {
      expect(lines(output)).to.deep.equal([
        "unguarded: lock 'letter-alice' could not be decided: the store of the locks is down",
        'sent to alice',
      ]);
    },
    'one-scope-two-queues.ts': output => {
      expect(lines(output)).to.deep.equal(['skipped 1', 'imported shop 3 2', 'at most 1 at once']);
    },
    'both-deduplications.ts': output => {
      expect(lines(output)).to.deep.equal(['waiting: 1', 'ran: 1']);
    },
    'who-holds-it.ts': output => {
      const all = lines(output);
      expect(all[0]).to.match(
        /^skipped: 'feed-prices' is held by job 1 of imports for another (1 s|\d+ ms)$/,
      );
      expect(all.slice(1)).to.deep.equal([
        'feed-prices: job 1, running',
        "job 1: lock 'feed-prices' is lost: its lease was taken over or deleted",
      ]);
    },
    'observe-first.ts': output => {
      expect(lines(output)).to.deep.equal(['ran: 3, would be skipped: statement-ann']);
    },
    'prometheus.ts': output => {
      expect(output).to.match(/^bullmq_once_locks_taken_total\{bullmq_queue_name="feeds".*\} 2$/m);
      expect(output).to.match(
        /^bullmq_once_duplicates_total\{bullmq_queue_name="feeds",bullmq_once_outcome="skipped".*\} 1$/m,
      );
    },
    'board-beside-bull-board.ts': output => {
      expect(lines(output)).to.deep.equal(['/jobs: 200', '/locks/: 200']);
    },
    'lock-alone.ts': output => {
      expect(output).to.match(/^(one|two) imports under fence n$/m);
      expect(output).to.match(/^(one|two) leaves it: running elsewhere$/m);
      expect(output).to.contain('took nightly-import in turn');
      expect(output).to.contain('refreshed https://example.org/rss, skipped');
    },
  };

  it('are all run here', () => {
    expect(
      readdirSync(folder)
        .filter(name => name.endsWith('.ts'))
        .sort(),
    ).to.deep.equal(Object.keys(expected).sort());
  });

  for (const [name, check] of Object.entries(expected)) {
    it(`${name} does what it says`, async () => {
      const env = { ...process.env, REDIS_URL: redisUrl(), METRICS_PORT: String(await freePort()) };

      const { stdout, stderr } = await run(process.execPath, ['--import', 'tsx', folder + name], {
        env,
        timeout: 60_000,
      });

      check(stdout);
      expect(stderr).to.equal('');
    });
  }
});

describe('the example of NestJS', () => {
  it('guards the jobs of a processor by a decorator', async () => {
    const config = `${folder}nestjs/tsconfig.json`;
    const env = { ...process.env, REDIS_URL: redisUrl(), TSX_TSCONFIG_PATH: config };

    const main = ['--import', 'tsx', `${folder}nestjs/main.ts`];
    const { stdout } = await run(process.execPath, main, { env, timeout: 60_000 });

    expect(lines(stdout)).to.deep.equal([
      'invoice 1 sent by Invoices',
      'invoice 2 sent by Invoices',
      'skipped',
    ]);
  });
});

describe('the demo', () => {
  const stores = { 'on a Redis': [], 'on a PostgreSQL in its own process': ['--embedded'] };

  for (const [store, args] of Object.entries(stores)) {
    it(`digests a folder with workers of which one is killed, ${store}: nothing overlaps, nothing is lost`, async () => {
      const env = { ...process.env, REDIS_URL: redisUrl() };

      const demo = ['--import', 'tsx', `${folder}demo/demo.ts`, ...args];
      const { stdout } = await run(process.execPath, demo, { env, timeout: 150_000 });

      const row = (name: string) => Number(new RegExp(`^\\W*${name}\\W+(\\d+)`, 'm').exec(stdout)?.[1]);
      expect(row('files')).to.be.above(50);
      expect(row('jobs')).to.equal(row('files') * 4);
      expect(row('run') + row('skipped')).to.equal(row('jobs'));
      expect(row('skipped')).to.be.above(0);
      expect(row('taken over after the crash')).to.be.above(0);
      expect(row('overlaps')).to.equal(0);
      expect(row('lost')).to.equal(0);
      expect(stdout).to.contain(args.length > 0 ? 'a PostgreSQL in this process' : 'the Redis of REDIS_URL');
    }).timeout(180_000);
  }
});
