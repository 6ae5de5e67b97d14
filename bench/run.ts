/**
 * Measures bullmq-once against no guard, against what people write by hand and against the published lock libraries, on
 * servers started for it, and writes docs/benchmarks.md with its chart. It runs compiled, on the built package.
 *
 *     npm run bench                                  all of it, with six rounds: three hours
 *     npm run bench -- --only lock,held --rounds 3   some of it, printed
 *     npm run bench -- --only throughput --stores node-redis
 *     npm run bench -- --print                       all of it, printed
 *     npm run bench -- --quick                       shows that all of it still runs; its figures mean nothing
 *
 * Throughput takes most of the time: with three rounds 70 minutes of 100. Each other suite takes some minutes.
 */

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, release, type } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { PostgresServer } from '../test/support/postgres-server.ts';
import { RedisServer } from '../test/support/redis-server.ts';
import { DOCS } from './paths.ts';
import type { Report } from './report.ts';
import type { Settings } from './settings.ts';
import { STORES } from './stores.ts';
import { clients } from './suites/clients.ts';
import { growth } from './suites/growth.ts';
import { held } from './suites/held.ts';
import { lines } from './suites/lines.ts';
import { lock } from './suites/lock.ts';
import { network } from './suites/network.ts';
import { packages } from './suites/package.ts';
import { records } from './suites/records.ts';
import { server } from './suites/server.ts';
import { throughput } from './suites/throughput.ts';

const SUITES: Record<string, (settings: Settings) => Promise<Report>> = {
  throughput,
  network,
  lock,
  clients,
  server,
  held,
  lines,
  records,
  growth,
  package: packages,
};

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(SUITES).join() },
    stores: { type: 'string', default: STORES.join() },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    print: { type: 'boolean', default: false },
  },
});
const names = listed('--only', values.only, Object.keys(SUITES));
const stores = listed('--stores', values.stores, STORES);
const rounds = Number(values.rounds ?? (values.quick ? 1 : 6));
if (!Number.isInteger(rounds) || rounds < 1) {
  throw new TypeError(`--rounds must be a whole number, 1 or more, not '${values.rounds}'`);
}
const workerSets = Math.min(rounds, 2);

// The servers stop as this process exits.
process.once('SIGTERM', () => process.exit(143));
const redisServer = await RedisServer.start();
// As users have it: a transaction waits for the disk.
const postgresServer = await PostgresServer.start([]);
try {
  const scale = values.quick ? 50 : 1;
  const settings: Settings = {
    servers: { redis: redisServer.url, postgres: postgresServer.url },
    rounds,
    stores,
    workerSets,
    concurrencies: values.quick ? [1, 50] : [1, 10, 50, 200],
    jobs: concurrency => Math.ceil(Math.min(10_000, 2_000 * concurrency) / scale),
    scale,
  };
  const report: Report = [];
  for (const name of names) {
    console.error(`${name} …`);
    report.push(...(await (SUITES[name] as (typeof SUITES)[string])(settings)));
  }
  const isAll = names.length === Object.keys(SUITES).length && stores.length === STORES.length;
  const isWhole = isAll && !values.quick && !values.print;
  const text = `${await preface()}\n\n${report.map(markdown).join('\n\n')}\n`;
  if (isWhole) write(text, report);
  else console.log(text);
  if (values.quick) console.error('A quick run: its figures mean nothing.');
} catch (error) {
  // Servers that are stopped before this process exits would make open clients throw other errors than this one.
  console.error(error);
  process.exit(1);
} finally {
  await redisServer.stop();
  await postgresServer.stop();
}

/** @throws TypeError one of the names is not known. */
function listed<Name extends string>(option: string, value: string, known: readonly Name[]): Name[] {
  const unknown = value.split(',').find(name => !known.includes(name as Name));
  if (unknown !== undefined) {
    throw new TypeError(`${option}: there is no '${unknown}'; there are: ${known.join(', ')}`);
  }
  return value.split(',') as Name[];
}

async function preface(): Promise<string> {
  const redis = new Redis(redisServer.url);
  const [, version] = /redis_version:(\S+)/.exec(await redis.info('server')) ?? [];
  redis.disconnect();
  const machine = `${type()} ${release().split('-')[0]}, ${cpus().length} × ${cpus()[0]?.model}`;
  const warning = values.quick
    ? '**A quick run: too little work for figures. These mean nothing but that all still runs.**\n\n'
    : '';
  return `# Benchmarks

${warning}Written by \`npm run bench\`, which runs anywhere. All contenders take turns on the same machine, against the same servers, in
processes that stay warm: ${workerSets} of each contender, which take turns. Rounds: ${rounds}, every other one in reverse. Figures are medians of the
rounds. A ratio is the median of each round's ratio to the first line, so that it may differ a little from the quotient of two figures. Below a
table stands how far its figures vary from round to round (the interquartile range, as a part of the median): the middle one of these
spreads, and the largest. What differs by less may be noise. The speed of a machine changes from minute to minute too: compare the ratios of two
tables, and not their figures. Jobs do nothing: with real work, guards differ by less.

This run: Node ${process.version.slice(1)}, Redis ${version}, ${machine}, servers and workers on one machine. PostgreSQL has its default
settings: a transaction waits for the disk.`;
}

function markdown(part: Report[number]): string {
  return typeof part === 'string' ? part : `![${part.title}](${part.file})`;
}

function write(text: string, report: Report): void {
  const file = fileURLToPath(new URL('benchmarks.md', DOCS));
  writeFileSync(file, text);
  // The linter checks the format of this file too.
  execFileSync('npx', ['biome', 'format', '--write', file], { stdio: 'inherit' });
  for (const part of report) if (typeof part !== 'string') writeFileSync(new URL(part.file, DOCS), part.svg);
  console.error('written: docs/benchmarks.md');
}
