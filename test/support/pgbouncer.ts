/** A real PgBouncer in front of a PostgreSQL, on a free port of this machine, stopped again. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { aptInstall, freePort, onPath } from './redis-server.ts';

const CHOICES = `No PgBouncer was found. Choose one:
  - install it (Debian, Ubuntu: apt-get install pgbouncer; macOS: brew install pgbouncer), or put pgbouncer on the PATH
  - run this as root on Debian or Ubuntu: the package is installed for you`;

/** Where Debian keeps it, off the PATH. */
const OF_DEBIAN = '/usr/sbin/pgbouncer';
/** Neither PostgreSQL nor PgBouncer is run by root; this is the user of both in `postgres-server.ts`. */
const USER = 'postgres';

const CONFIG = 'pgbouncer.ini';

/** When a server's connection is given to another client. */
export type PoolMode = 'session' | 'transaction' | 'statement';

export class PgBouncer {
  readonly port: number;
  readonly #folder: string;
  #process: ChildProcess;

  private constructor(port: number, folder: string) {
    this.port = port;
    this.#folder = folder;
    this.#process = this.#spawn();
  }

  /** @param to - the port of the PostgreSQL behind it. */
  static async start(to: number, mode: PoolMode): Promise<PgBouncer> {
    const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-pgbouncer-'));
    const port = await freePort();
    const config = join(folder, CONFIG);
    const users = join(folder, 'users.txt');
    writeFileSync(users, `"${USER}" ""\n`);
    writeFileSync(config, configuration(port, to, mode, users));
    for (const file of [folder, config, users]) chmodSync(file, 0o755);
    const bouncer = new PgBouncer(port, folder);
    await bouncer.#answers();
    return bouncer;
  }

  /** Ends it at once, and starts it on its port again: all connections by it are lost. */
  async restart(): Promise<void> {
    await this.#kill();
    this.#process = this.#spawn();
    await this.#answers();
  }

  #spawn(): ChildProcess {
    const asUser = process.getuid?.() === 0 ? ['-u', USER] : [];
    const args = ['-q', ...asUser, join(this.#folder, CONFIG)];
    const running = spawn(findProgram(), args, { stdio: 'ignore' });
    stopOnExit.add(running);
    return running;
  }

  get url(): string {
    return `postgres://${USER}@127.0.0.1:${this.port}/postgres`;
  }

  async stop(): Promise<void> {
    await this.#kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #kill(): Promise<void> {
    const running = this.#process;
    if (running.exitCode === null && running.signalCode === null) {
      running.kill('SIGKILL');
      await once(running, 'exit');
    }
    stopOnExit.delete(running);
  }

  async #answers(): Promise<void> {
    const until = Date.now() + 30_000;
    for (;;) {
      if (this.#process.exitCode !== null) {
        throw new Error(`pgbouncer on port ${this.port} ended with status ${this.#process.exitCode}`);
      }
      const client = new pg.Client({ connectionString: this.url });
      client.on('error', () => {});
      const isReady = await client.connect().then(
        () => true,
        () => false,
      );
      if (isReady) return client.end();
      if (Date.now() > until) throw new Error(`pgbouncer on port ${this.port} did not answer within 30 s`);
      await delay(20);
    }
  }
}

function configuration(port: number, to: number, mode: PoolMode, users: string): string {
  return `[databases]
postgres = host=127.0.0.1 port=${to} dbname=postgres user=${USER}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
auth_file = ${users}
pool_mode = ${mode}
default_pool_size = 10
max_client_conn = 200
ignore_startup_parameters = extra_float_digits,options
`;
}

function findProgram(): string {
  const find = () => onPath('pgbouncer') ?? (existsSync(OF_DEBIAN) ? OF_DEBIAN : undefined);
  const found = find();
  if (found) return found;
  aptInstall('pgbouncer', CHOICES);
  const installed = find();
  if (!installed) throw new Error(CHOICES);
  return installed;
}

/** PgBouncers do not outlive the process that started them. */
const stopOnExit = new Set<ChildProcess>();
process.on('exit', () => {
  for (const running of stopOnExit) running.kill('SIGKILL');
});
