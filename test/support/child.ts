/** A process of its own, and the messages that it has sent. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { until } from './index.ts';

export type Message = { readonly event: string; readonly [field: string]: unknown };

const FIXTURES = new URL('../fixtures/', import.meta.url);

export class Child {
  /** All messages so far, in the order in which they came. */
  readonly messages: Message[] = [];
  readonly #process: ChildProcess;
  readonly #exit: Promise<unknown[]>;

  /** @param fixture - a file in test/fixtures, or a URL. */
  constructor(fixture: string | URL, argument: object, execArgv: readonly string[] = []) {
    this.#process = fork(new URL(fixture, FIXTURES), [JSON.stringify(argument)], {
      execArgv: ['--import', 'tsx', ...execArgv],
    });
    this.#exit = once(this.#process, 'exit');
    this.#process.on('message', message => this.messages.push(message as Message));
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  get alive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Waits for the first message of an event, of one job where an id is given. */
  async message(event: string, id?: string): Promise<Message> {
    const find = () => this.messages.find(one => one.event === event && (id === undefined || one.id === id));
    await until(find, `'${event}' from process ${this.#process.pid}`, 60_000);
    return find() as Message;
  }

  /** All messages of an event so far. */
  messagesOf(event: string): Message[] {
    return this.messages.filter(one => one.event === event);
  }

  send(message: object | string): void {
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
