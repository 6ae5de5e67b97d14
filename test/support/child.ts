/** A process of its own, and what it told. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { until } from './index.ts';

export type Message = { readonly event: string; readonly [field: string]: unknown };

const FIXTURES = new URL('../fixtures/', import.meta.url);

export class Child {
  readonly told: Message[] = [];
  readonly #process: ChildProcess;
  readonly #exit: Promise<unknown[]>;

  /** @param fixture - a file in test/fixtures, or a URL. */
  constructor(fixture: string | URL, argument: object, execArgv: readonly string[] = []) {
    this.#process = fork(new URL(fixture, FIXTURES), [JSON.stringify(argument)], {
      execArgv: ['--import', 'tsx', ...execArgv],
    });
    this.#exit = once(this.#process, 'exit');
    this.#process.on('message', message => this.told.push(message as Message));
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  get alive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** The first message of an event, of a job where one is named; waited for. */
  async hears(event: string, id?: string): Promise<Message> {
    const find = () => this.told.find(told => told.event === event && (id === undefined || told.id === id));
    await until(find, `'${event}' from process ${this.#process.pid}`, 60_000);
    return find() as Message;
  }

  tell(message: object | string): void {
    this.#process.send(message);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exit;
  }

  /** How it ended by itself, once it has. */
  async ended(): Promise<number | NodeJS.Signals> {
    const [code, signal] = await this.#exit;
    return (signal ?? code) as number | NodeJS.Signals;
  }
}
