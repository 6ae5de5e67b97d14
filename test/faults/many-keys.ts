/** 100 000 locks with a line each, as operators look at them: the command line streams them, and the board shows some, soon. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Redis } from 'ioredis';
import { MAX_LOCKS } from '../../src/board/kept-locks.ts';
import { PAGE_LOCKS } from '../../src/board/lock-list.ts';
import { createBoard } from '../../src/board.ts';
import { enterStep } from '../../src/conformance/lines.ts';
import { RedisCache } from '../../src/index.ts';
import { queueName } from '../../src/key/stored-name.ts';
import { RedisServer } from '../support/redis-server.ts';
import type { Trial, TrialResult } from './trial.ts';

const KEYS = 100_000;
const BATCH = 500;
/** The heap with which the command line must do. It could not hold all locks. */
const CLI_HEAP_MIB = 96;
/** The board waits two seconds for a datastore. The rest is for a busy machine. */
const MAX_ANSWER_MS = 5000;
/** After garbage collection. A look knows the names that it has read, and keeps a thousand locks. */
const MAX_HEAP_GROWTH_MIB = 32;
const MAX_ANSWER_BYTES = 2 ** 20;
/** How often the board is asked, a second apart. */
const REQUESTS = 5;

const CLI = new URL('../../src/cli/main.ts', import.meta.url).pathname;

export const MANY_KEYS: Trial = {
  name: 'many locks and lines on the board and the command line',
  async play(_random, scale) {
    const keys = Math.ceil(KEYS / scale);
    const server = await RedisServer.start();
    const redis = new Redis(server.port);
    try {
      await fill(new RedisCache(redis), keys);
      const [cli, board] = [await listByCli(server, keys), await showOnBoard(redis, keys)];
      const violations = [...cli.violations, ...board.violations];
      return { figures: `${keys} keys; ${cli.figures}; ${board.figures}`, violations };
    } finally {
      redis.disconnect();
      await server.stop();
    }
  },
};

/** Of each key one job holds the lock, and another is parked. */
async function fill(cache: RedisCache, keys: number): Promise<void> {
  for (let first = 0; first < keys; first += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, keys - first) }, (_, i) => first + i);
    for (const job of [1, 2]) await cache.enter(numbers.map(number => entry(number, job)));
  }
}

function entry(number: number, job: number) {
  const storedKey = queueName('bull:emails', `welcome-${number}`);
  const owner = `bull:emails:${number}-${job}@1790000000000`;
  return enterStep({ storedKey, owner, line: 'all', ttl: 3_600_000 });
}

async function listByCli({ url }: RedisServer, keys: number): Promise<TrialResult> {
  const startedAt = performance.now();
  const heap = `--max-old-space-size=${CLI_HEAP_MIB}`;
  const args = [heap, '--import', 'tsx', CLI, 'list', '--json', '--redis', url];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  let lines = 0;
  let withLine = 0;
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    lines += parts.length;
    withLine += parts.filter(part => part.includes('"parked":1')).length;
  });
  const [code] = await once(child, 'close');
  const ms = performance.now() - startedAt;
  const isRight = code === 0 && lines === keys && withLine === keys;
  return {
    figures: `listed in ${seconds(ms)} within a heap of ${CLI_HEAP_MIB} MiB`,
    violations: isRight
      ? []
      : [
          `the command line listed ${lines} of ${keys} locks, ${withLine} with their line, and ended with ${code}`,
        ],
  };
}

async function showOnBoard(redis: Redis, keys: number): Promise<TrialResult> {
  const board = createBoard({ caches: { all: new RedisCache(redis) } });
  const violations: string[] = [];
  const heapBefore = heapInUse();
  let [slowest, largest, heap] = [0, 0, 0];
  for (let i = 0; i < REQUESTS; i++) {
    const startedAt = performance.now();
    const text = await (await board.fetch(new Request('http://localhost/api/locks'))).text();
    slowest = Math.max(slowest, performance.now() - startedAt);
    largest = Math.max(largest, text.length);
    heap = Math.max(heap, heapInUse() - heapBefore);
    const { locks, isCut } = JSON.parse(text) as { locks: unknown[]; isCut: boolean };
    const isRight = locks.length === Math.min(keys, PAGE_LOCKS) && isCut === keys > MAX_LOCKS;
    if (!isRight) violations.push(`the board shows ${locks.length} of ${keys} locks, and more: ${isCut}`);
    await new Promise(resolve => setTimeout(resolve, 1000));
  }
  board.close();
  if (slowest > MAX_ANSWER_MS) violations.push(`the board answered after ${seconds(slowest)}`);
  if (largest > MAX_ANSWER_BYTES) violations.push(`the board answered with ${largest} bytes`);
  if (heap > MAX_HEAP_GROWTH_MIB * 2 ** 20) violations.push(`the heap grew by ${mib(heap)}`);
  const size = `${Math.round(largest / 1024)} KiB`;
  return {
    figures: `the board answered within ${seconds(slowest)}, ${size}, heap + ${mib(heap)}`,
    violations,
  };
}

function heapInUse(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return process.memoryUsage().heapUsed;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
