/** A real PostgreSQL server, on a free port of this machine, stopped again. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { aptInstall, freePort, onPath } from './redis-server.ts';

const CHOICES = `No PostgreSQL was found. Choose one:
  - install it (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql), or put initdb and postgres on the PATH
  - run this as root on Debian or Ubuntu: the package is installed for you`;

/** PostgreSQL refuses to run as root: then it is run as this user, whom Debian's package makes. */
const USER = 'postgres';

export class PostgresServer {
  readonly port: number;
  readonly #folder: string;
  readonly #settings: readonly string[];
  #process: ChildProcess | undefined;
  /** The id of the process that is stopped. */
  #walWriter: number | undefined;

  private constructor(port: number, folder: string, settings: readonly string[]) {
    this.port = port;
    this.#folder = folder;
    this.#settings = settings;
  }

  /** Starts a server, by default one that is as fast as it can be, and would lose data if the machine failed. */
  static async start(settings: readonly string[] = ['fsync=off']): Promise<PostgresServer> {
    const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-postgres-'));
    foldersOnExit.add(folder);
    const runAs = userToRunAs();
    if (runAs) chownSync(folder, runAs.uid, runAs.gid);
    const initdb = ['-D', folder, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--no-sync'];
    execFileSync(join(findPrograms(), 'initdb'), initdb, { stdio: 'ignore', cwd: folder, ...runAs });
    const server = new PostgresServer(await freePort(), folder, settings);
    await server.restart();
    return server;
  }

  get url(): string {
    return this.urlAt(this.port);
  }

  /** The URL by which it is found behind a proxy's port. */
  urlAt(port: number): string {
    return `postgres://${USER}@127.0.0.1:${port}/postgres`;
  }

  /** Starts it on its port again, after it was killed. */
  async restart(): Promise<void> {
    // Each worker has a pool of its own.
    const settings = [
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'max_connections=300',
      ...this.#settings,
    ];
    const args = ['-D', this.#folder, '-p', `${this.port}`, ...settings.flatMap(setting => ['-c', setting])];
    const options = { stdio: 'ignore', cwd: this.#folder, ...userToRunAs() } as const;
    this.#process = spawn(join(findPrograms(), 'postgres'), args, options);
    stopOnExit.add(this.#process);
    await answers(this.port, this.#process);
  }

  /** Stops its process that writes down what nobody waits for, until the server is killed. */
  async stopWalWriter(): Promise<void> {
    const client = new pg.Client(this.url);
    await client.connect();
    const { rows } = await client.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
    await client.end();
    this.#walWriter = rows[0].pid as number;
    process.kill(this.#walWriter, 'SIGSTOP');
  }

  /** Ends it at once: what it did not write down for good it has to recover when it is started again. */
  async kill(): Promise<void> {
    const running = this.#process;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    // PostgreSQL's immediate shutdown: it takes its own processes with it, which a SIGKILL would not.
    running.kill('SIGQUIT');
    // A stopped process takes no notice of that.
    if (this.#walWriter) process.kill(this.#walWriter, 'SIGKILL');
    this.#walWriter = undefined;
    await once(running, 'exit');
    stopOnExit.delete(running);
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
    foldersOnExit.delete(this.#folder);
  }
}

function userToRunAs(): { uid: number; gid: number } | undefined {
  return process.getuid?.() === 0 ? idsOf(USER) : undefined;
}

/** The folder of PostgreSQL's programs, which Debian keeps off the PATH. */
function findPrograms(): string {
  const found = onPath('initdb') ?? debianInitdb();
  if (found) return join(found, '..');
  aptInstall('postgresql', CHOICES);
  const installed = debianInitdb();
  if (!installed) throw new Error(CHOICES);
  return join(installed, '..');
}

function debianInitdb(): string | undefined {
  const all = '/usr/lib/postgresql';
  if (!existsSync(all)) return undefined;
  const versions = readdirSync(all).sort((a, b) => Number(b) - Number(a));
  return versions.map(version => join(all, version, 'bin', 'initdb')).find(file => existsSync(file));
}

function idsOf(user: string): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, user]).toString());
  return { uid: id('-u'), gid: id('-g') };
}

/** It listens before it has started up: it is ready when it answers. */
async function answers(port: number, running: ChildProcess): Promise<void> {
  const until = Date.now() + 30_000;
  for (;;) {
    if (running.exitCode !== null)
      throw new Error(`postgres on port ${port} ended with status ${running.exitCode}`);
    const client = new pg.Client({ host: '127.0.0.1', port, user: USER, database: 'postgres' });
    client.on('error', () => {});
    const ready = await client.connect().then(
      () => true,
      () => false,
    );
    if (ready) return client.end();
    if (Date.now() > until) throw new Error(`postgres on port ${port} did not answer within 30 s`);
    await delay(20);
  }
}

/** Servers do not outlive the process that started them. */
const stopOnExit = new Set<ChildProcess>();
const foldersOnExit = new Set<string>();
process.on('exit', () => {
  for (const running of stopOnExit) running.kill('SIGQUIT');
  // A server that is still ending may write a file meanwhile.
  for (const folder of foldersOnExit) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
});
