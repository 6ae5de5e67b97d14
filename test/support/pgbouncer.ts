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

/** When a server's connection is given to another client. */
export type PoolMode = 'session' | 'transaction' | 'statement';

export class PgBouncer {
  readonly port: number;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(port: number, folder: string, running: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#process = running;
  }

  /** @param to - the port of the PostgreSQL behind it. */
  static async start(to: number, mode: PoolMode): Promise<PgBouncer> {
    const program = findProgram();
    const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-pgbouncer-'));
    const port = await freePort();
    const config = join(folder, 'pgbouncer.ini');
    const users = join(folder, 'users.txt');
    writeFileSync(users, `"${USER}" ""\n`);
    writeFileSync(config, configuration(port, to, mode, users));
    for (const file of [folder, config, users]) chmodSync(file, 0o755);
    const asUser = process.getuid?.() === 0 ? ['-u', USER] : [];
    const running = spawn(program, ['-q', ...asUser, config], { stdio: 'ignore' });
    stopOnExit.add(running);
    const bouncer = new PgBouncer(port, folder, running);
    await bouncer.#answers();
    return bouncer;
  }

  get url(): string {
    return `postgres://${USER}@127.0.0.1:${this.port}/postgres`;
  }

  async stop(): Promise<void> {
    const running = this.#process;
    if (running.exitCode === null && running.signalCode === null) {
      running.kill('SIGKILL');
      await once(running, 'exit');
    }
    stopOnExit.delete(running);
    rmSync(this.#folder, { recursive: true, force: true });
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
