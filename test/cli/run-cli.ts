/** Runs `npx bullmq-once` in a process of its own. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import type { Redis } from 'ioredis';
import { enterStep } from '../../src/conformance/lines.ts';
import { type EnterStep, Lock, type LockHandle, type LockOptions, RedisCache } from '../../src/index.ts';
import { scopedName } from '../../src/key/stored-name.ts';
import { connectRedis, redisUrl, uniqueName } from '../support/index.ts';

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const WITHOUT = new URL('../fixtures/without-packages.mjs', import.meta.url).pathname;
const NODE_ARGS = ['--import', 'tsx', MAIN];
const env = { ...process.env, REDIS_URL: '' };

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export function cli(...args: string[]): Promise<Ended> {
  return run([...NODE_ARGS, ...args]);
}

/** The command line where some packages are not installed. */
export function cliWithout(packages: readonly string[], ...args: string[]): Promise<Ended> {
  return run(['--import', 'tsx', '--import', WITHOUT, MAIN, ...args], { WITHOUT_PACKAGES: packages.join() });
}

function run(nodeArgs: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise(resolve => {
    execFile(
      process.execPath,
      [...nodeArgs],
      { env: { ...env, ...more }, maxBuffer: 2 ** 26 },
      (error, out, err) => {
        resolve({ code: error ? Number(error.code) : 0, out, err });
      },
    );
  });
}

/** Starts a command that does not end by itself. */
export function startCli(...args: string[]): ChildProcess & { readonly stdout: NodeJS.ReadableStream } {
  return spawn(process.execPath, [...NODE_ARGS, ...args], { env });
}

/** What `--json` printed. */
export function parseLines(out: string): any[] {
  const lines = out.split('\n').filter(line => line !== '');
  return lines.map(line => JSON.parse(line));
}

/** A scope of its own on the Redis of the run. */
export class OwnScope {
  readonly redis: Redis = connectRedis();
  readonly cache: RedisCache = new RedisCache(this.redis);
  readonly scope: string = uniqueName('scope');
  /** The options of the command line that select it. */
  readonly args: readonly string[] = ['--redis', redisUrl(), '--scope', this.scope];

  hold(key: string, options: LockOptions = {}): Promise<LockHandle> {
    const { cache, scope } = this;
    return new Lock(key, { cache, scope, owner: `owner of ${key}`, ...options }).acquire();
  }

  /** Asks for a place of a key, or to be parked for it. */
  async enter(key: string, owner: string, given: Partial<EnterStep> = {}): Promise<EnterStep> {
    const step = enterStep({ storedKey: scopedName(this.scope, key), owner, line: 'all', ...given });
    await this.cache.enter([step]);
    return step;
  }

  close(): void {
    this.redis.disconnect();
  }
}
