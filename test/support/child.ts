/** A process of its own, and what it told. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { until } from './index.ts';

export type Message = { readonly event: string; readonly [field: string]: unknown };

export class Child {
  readonly told: Message[] = [];
  readonly #process: ChildProcess;

  /** @param fixture - a file in test/fixtures. */
  constructor(fixture: string, argument: object) {
    this.#process = fork(new URL(`../fixtures/${fixture}`, import.meta.url), [JSON.stringify(argument)], {
      execArgv: ['--import', 'tsx'],
    });
    this.#process.on('message', message => this.told.push(message as Message));
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

  tell(message: object): void {
    this.#process.send(message);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  async kill(): Promise<void> {
    if (!this.alive) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exit;
  }
}
