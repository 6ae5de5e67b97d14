/** Real Redis servers, on free ports of this machine, each stopped again. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';

const CHOICES = `No Redis was found. Choose one:
  - set REDIS_URL to a server whose data may be written to, such as redis://127.0.0.1:6379
  - put redis-server or valkey-server on the PATH (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)
  - run this as root on Debian or Ubuntu: the package is installed for you`;

/** Nothing is kept on disk, and a replica is served when it comes, not five seconds later. */
const QUICKLY = ['--save', '', '--repl-diskless-sync-delay', '0'];

export class RedisServer {
  readonly port: number;
  readonly #binary: string;
  readonly #args: string[];
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  #process: ChildProcess | undefined;

  /** @param config - the lines of a configuration file, where it has one. */
  private constructor(
    port: number,
    args: readonly string[],
    { config, env = {} }: { config?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
  ) {
    this.#env = { ...process.env, ...env };
    this.#binary = findRedisBinary();
    this.port = port;
    this.#folder = mkdtempSync(join(tmpdir(), 'bullmq-once-redis-'));
    foldersOnExit.add(this.#folder);
    this.#args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', this.#folder, ...args];
    if (!config) return;
    const file = join(this.#folder, 'redis.conf');
    writeFileSync(file, config.join('\n'));
    this.#args.unshift(file);
  }

  /** Starts a server that keeps nothing on disk, unless `args` say so. */
  static async start(...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), [...QUICKLY, ...args]);
    await server.restart();
    return server;
  }

  /** Starts a server that keeps nothing on disk, with environment variables. */
  static async startWith(env: NodeJS.ProcessEnv): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), QUICKLY, { env });
    await server.restart();
    return server;
  }

  /** Starts a node of a cluster that knows no other yet. */
  static async startNode(...args: string[]): Promise<RedisServer> {
    const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'];
    const server = new RedisServer(await freeClusterPort(), [...QUICKLY, ...cluster, ...args]);
    await server.restart();
    return server;
  }

  /** Starts a sentinel, which writes what it learns into its configuration. */
  static async startSentinel(...config: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), ['--sentinel'], { config });
    await server.restart();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts it on its port again, after it was killed. */
  async restart(): Promise<void> {
    this.#process = spawn(this.#binary, this.#args, { stdio: 'ignore', env: this.#env });
    stopOnExit.add(this.#process);
    await answers(this.port, this.#process);
  }

  /** Runs a command on it, by a connection of its own. */
  async call(command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis(this.port);
    client.on('error', () => {});
    try {
      return await client.call(command, ...args.map(String));
    } finally {
      client.disconnect();
    }
  }

  /** What it tells of itself. */
  async info(section: string): Promise<string> {
    return String(await this.call('INFO', section));
  }

  /** It takes connections and answers nothing. */
  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  /** It is gone, and its connections with it. */
  async kill(): Promise<void> {
    const running = this.#process;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    running.kill('SIGKILL');
    await once(running, 'exit');
    stopOnExit.delete(running);
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
    foldersOnExit.delete(this.#folder);
  }
}

/** A server that is there already, or one that was started for the caller. */
export interface FoundRedis {
  readonly url: string;
  /** Says where it came from. */
  readonly source: string;
  stop(): Promise<void>;
}

/** `REDIS_URL`, else a server started on a free port, which is installed where it is missing and can be. */
export async function findRedis(): Promise<FoundRedis> {
  return (await lookForRedis()) ?? startRedis();
}

/** `REDIS_URL`, else a server started on a free port, where there is one to start. */
export async function lookForRedis(): Promise<FoundRedis | undefined> {
  const url = process.env.REDIS_URL;
  if (url) return { url, source: 'the Redis of REDIS_URL', stop: async () => {} };
  return redisOnPath() ? startRedis() : undefined;
}

async function startRedis(): Promise<FoundRedis> {
  const server = await RedisServer.start();
  return {
    url: server.url,
    source: `a Redis started for this run on port ${server.port}`,
    stop: () => server.stop(),
  };
}

let binary: string | undefined;

function findRedisBinary(): string {
  binary ??= redisOnPath() ?? installRedis();
  return binary;
}

function redisOnPath(): string | undefined {
  return onPath('redis-server') ?? onPath('valkey-server');
}

function installRedis(): string {
  aptInstall('redis-server', CHOICES);
  const installed = onPath('redis-server');
  if (!installed) throw new Error(CHOICES);
  return installed;
}

/**
 * Installs one of Debian's packages, where that can be done.
 * @param choices - what its user can do where it can't.
 */
export function aptInstall(name: string, choices: string): void {
  if (process.getuid?.() !== 0 || !onPath('apt-get')) throw new Error(choices);
  console.error(`Installing the package ${name} with apt-get (this is root on Debian or Ubuntu).`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    execFileSync('apt-get', ['update', '-qq'], { stdio: ['ignore', 'ignore', 'inherit'], env });
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env,
    });
  } catch (error) {
    throw new Error(`${name} could not be installed.\n${choices}`, { cause: error });
  }
}

export function onPath(program: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).concat('/usr/bin', '/usr/local/bin');
  return folders.map(folder => join(folder, program)).find(file => existsSync(file));
}

/** A port for a node, which talks to the others on the one that is 10 000 above. */
async function freeClusterPort(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (port < 55_000) return port;
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits until a server answers a PING, which it does once it has loaded its data. */
async function answers(port: number, running: ChildProcess): Promise<void> {
  const client = new Redis({ port, lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => {});
  const until = Date.now() + 30_000;
  for (;;) {
    if (running.exitCode !== null)
      throw new Error(`redis-server on port ${port} ended with status ${running.exitCode}`);
    const pong = await client.connect().then(
      () => client.ping().catch(() => undefined),
      () => undefined,
    );
    if (pong === 'PONG') break;
    if (Date.now() > until) throw new Error(`redis-server on port ${port} did not answer within 30 s`);
    client.disconnect();
    await delay(20);
  }
  client.disconnect();
}

/** Servers do not outlive the process that started them, even when it ends in the middle of a test. */
const stopOnExit = new Set<ChildProcess>();
const foldersOnExit = new Set<string>();
process.on('exit', () => {
  for (const running of stopOnExit) running.kill('SIGKILL');
  for (const folder of foldersOnExit) rmSync(folder, { recursive: true, force: true });
});
