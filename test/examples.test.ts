/** Each example runs as it stands. */

import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { redisUrl } from './support/index.ts';
import { freePort } from './support/redis-server.ts';
import { sharedPostgres } from './support/shared-servers.ts';

const folder = fileURLToPath(new URL('../examples/', import.meta.url));
const execute = promisify(execFile);
/** Most examples wait for most of their time, so several run at once. They share a Redis, and no queue. */
const MAX_RUNNING = 2;

/** A PostgreSQL for the examples that need one. */
let databaseUrl = '';

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** What each example prints. */
const EXPECTED: Record<string, (output: string) => void> = {
  'quick-start.ts': expectWelcomes,
  'without-a-server.ts': expectWelcomes,
  'on-postgres.ts': expectWelcomes,
  'commonjs.cjs': expectWelcomes,
  'own-cache.ts': output => {
    expect(linesOf(output)).to.deep.equal([
      'import under fence 1',
      'refused while it runs',
      'import under fence 2',
    ]);
  },
  'overlapping-schedules.ts': output => {
    const [, ran, skipped, most] = /ran (\d+), skipped (\d+), at most (\d+) at once/.exec(output) ?? [];
    expect(Number(ran)).to.be.above(1);
    expect(Number(skipped)).to.be.above(1);
    expect(most).to.equal('1');
  },
  'webhook-delivered-twice.ts': output => {
    expect(output).to.match(/delivery (first|second) is retried: lock 'payment-pay_1' is held by job/);
    expect(output).to.match(/booked 1 time: pay_1; 2 deliveries completed, 0 failed/);
  },
  'express-webhook.ts': output => {
    expect(output.match(/^booked evt_\d+$/gm)).to.have.length(1);
    expect(output.match(/^delivery \d: 202$/gm)).to.have.length(2);
    expect(linesOf(output).at(-1)).to.equal('failed: 0');
  },
  'per-queue-caches.ts': output => {
    expect(linesOf(output)).to.deep.equal(
      ['thumbnails', 'invoices', 'reminders'].map(name => `${name}: skipped, worked, worked`),
    );
  },
  'delay-the-duplicate.ts': output => {
    expect(linesOf(output)).to.have.members([
      'export first, failed 0 times before',
      'export second, failed 0 times before',
    ]);
  },
  'wait-your-turn.ts': output => {
    expect(linesOf(output)).to.deep.equal(['alice has 160']);
  },
  'import-in-order.ts': output => {
    expect(linesOf(output)).to.deep.equal([
      'acme: files 1, 2, 3, 4',
      'globex: files 1, 2, 3, 4',
      'at most 2 at once',
    ]);
  },
  'three-downloads-a-host.ts': output => {
    expect(linesOf(output)).to.deep.equal([
      'example.org: at most 3 at once',
      'example.com: at most 3 at once',
    ]);
  },
  'search-as-you-type.ts': output => {
    expect(linesOf(output)).to.deep.equal(['c: stopped', 'ca: stopped', 'cat: stopped', 'cats: found']);
  },
  'autosave.ts': output => {
    expect(linesOf(output)).to.deep.equal(['saved versions 1 and 5']);
  },
  'double-click.ts': output => {
    const receipt = 'receipt 1: 1990 cents for cart c1';
    expect(linesOf(output).slice(0, 2)).to.deep.equal([receipt, receipt]);
    expect(linesOf(output)[2]).to.match(
      /^lock 'pay-c1' was done by job \d of checkout and stays held for another … s, for other data/,
    );
    expect(linesOf(output)).to.have.length(3);
  },
  'once-a-minute.ts': output => {
    expect(linesOf(output)).to.deep.equal([
      'ann is told of event 1',
      'ben is told of event 1',
      'sent 2, skipped 4',
    ]);
  },
  'deploy-while-jobs-run.ts': output => {
    const [first, ...others] = linesOf(output);
    expect(first).to.equal('file 1 by v1');
    expect(others.map(line => line.slice(0, 9))).to.deep.equal(['file 2 by', 'file 3 by', 'file 4 by']);
    expect(others.at(0)).to.match(/v[12]$/);
    expect(others.at(-1)).to.match(/v[23]$/);
    expect(others.filter(line => line.endsWith('v1'))).to.deep.equal([]);
  },
  'one-report-for-all.ts': output => {
    const report = '{"month":"2026-11","total":1234.5}';
    expect(linesOf(output)).to.deep.equal([...Array(5).fill(report), 'built 1 time']);
  },
  'decide-yourself.ts': output => {
    expect(linesOf(output)).to.deep.equal(['sales is being built by job first', 'sales is ready']);
  },
  'hold-through-retries.ts': output => {
    expect(linesOf(output)).to.deep.equal([
      'first starts',
      'second: skipped',
      'first starts',
      'first: imported',
    ]);
  },
  'hung-job.ts': output => {
    expect(linesOf(output)).to.deep.equal([
      "lock 'download-https://example.org/big' is lost: it was held for as long as maxHold allows, and is no longer renewed",
      'downloaded',
    ]);
  },
  'fail-open.ts': output => {
    expect(linesOf(output)).to.deep.equal([
      "job 1 runs without a lock: lock 'letter-alice' could not be decided: the store of the locks is down",
      'sent to alice',
    ]);
  },
  'one-scope-two-queues.ts': output => {
    expect(linesOf(output)).to.deep.equal(['skipped 1', 'imported shop 3 2', 'at most 1 at once']);
  },
  'both-deduplications.ts': output => {
    expect(linesOf(output)).to.deep.equal(['waiting: 1', 'ran: 1']);
  },
  'who-holds-it.ts': output => {
    const [skipped, ...others] = linesOf(output);
    expect(skipped).to.match(/^skipped: 'feed-prices' is held by job 1 of imports$/);
    expect(others).to.deep.equal([
      'feed-prices: job 1, running',
      "job 1: lock 'feed-prices' is lost: its lease was released by force, reclaimed by a newer run of its owner, or deleted",
    ]);
  },
  'observe-first.ts': output => {
    expect(linesOf(output)).to.deep.equal(['ran: 3, would be skipped: statement-ann']);
  },
  'prometheus.ts': output => {
    expect(output).to.match(/^bullmq_once_locks_acquired_total\{bullmq_queue_name="feeds".*\} 2$/m);
    expect(output).to.match(
      /^bullmq_once_duplicates_total\{bullmq_queue_name="feeds",bullmq_once_outcome="skipped".*\} 1$/m,
    );
  },
  'board-beside-bull-board.ts': output => {
    expect(linesOf(output)).to.deep.equal(['/jobs: 200', '/locks/: 200']);
  },
  'lock-alone.ts': output => {
    expect(output).to.match(/^(one|two) imports under fence n$/m);
    expect(output).to.match(/^(one|two) does nothing: the import is running elsewhere$/m);
    expect(output).to.contain('acquired nightly-import in its turn');
    expect(output).to.contain('refreshed https://example.org/rss, skipped');
  },
};

describe('The examples', () => {
  let outputs: Map<string, Promise<Output>>;
  before(async () => {
    databaseUrl = (await sharedPostgres()).url;
    outputs = runAll(Object.keys(EXPECTED));
  });

  it('are all run here', () => {
    const names = readdirSync(folder).filter(name => /\.c?[jt]s$/.test(name));

    expect(names.sort()).to.deep.equal(Object.keys(EXPECTED).sort());
  });

  for (const [name, expectOutput] of Object.entries(EXPECTED)) {
    it(`do what they say (${name})`, async () => {
      const { stdout, stderr } = (await outputs.get(name)) as Output;

      expectOutput(stdout);
      expect(stderr).to.equal('');
    });
  }
});

describe('The example of NestJS', () => {
  it('guards the jobs of a processor by a decorator', async () => {
    const config = `${folder}nestjs/tsconfig.json`;

    const { stdout } = await run(`${folder}nestjs/main.ts`, { TSX_TSCONFIG_PATH: config });

    const lines = linesOf(stdout);
    expect(lines).to.have.members([
      ...['invoice 1 sent by Invoices', 'invoice 2 sent by Invoices'],
      ...['reminded of invoice 1', 'reminded of invoice 2', 'skipped'],
    ]);
    for (const id of [1, 2])
      expect(lines.indexOf(`reminded of invoice ${id}`)).to.be.above(
        lines.indexOf(`invoice ${id} sent by Invoices`),
      );
  });
});

function expectWelcomes(output: string): void {
  expect(output)
    .to.match(/^\d+ welcome, user 42$/m)
    .and.match(/^\d+ welcome, user 7$/m);
  expect(output.match(/skipped: its key is held/g)).to.have.length(1);
}

function linesOf(output: string): string[] {
  return output.trim().split('\n');
}

/** Starts all examples in their order, a few at a time. */
function runAll(names: readonly string[]): Map<string, Promise<Output>> {
  const outputs = new Map<string, Promise<Output>>();
  const ends: Promise<unknown>[] = [];
  for (const [i, name] of names.entries()) {
    const output = (ends[i - MAX_RUNNING] ?? Promise.resolve()).then(async () =>
      run(folder + name, { METRICS_PORT: String(await freePort()), WEBHOOK_PORT: String(await freePort()) }),
    );
    outputs.set(name, output);
    ends.push(output.catch(() => {}));
  }
  return outputs;
}

/** Runs a file with the Redis of the tests. */
function run(file: string, env: Record<string, string>): Promise<Output> {
  return execute(process.execPath, ['--import', 'tsx', file], {
    env: { ...process.env, REDIS_URL: redisUrl(), DATABASE_URL: databaseUrl, ...env },
    timeout: 60_000,
  });
}
