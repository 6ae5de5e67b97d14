/**
 * A connection of a process to the server. It delivers in order, after some time. It may be slow, cut, or half open; what was under way
 * is then lost on its way there, or has been done and its answer is lost. Some clients send again what was not answered.
 */

import type { Random } from '../faults/random.ts';
import type { SimulatedProcess } from './process.ts';
import type { Server } from './server.ts';

/** What a client does with commands that were not answered when its connection was lost. */
export type ClientKind = 'sends again' | 'gives up';

interface Command {
  readonly name: string;
  readonly apply: () => unknown;
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
}

const RECONNECT_MS = 40;

export class Connection {
  readonly process: SimulatedProcess;
  readonly server: Server;
  readonly #random: Random;
  readonly #kind: ClientKind;
  readonly #latency: number;
  /** Changes whenever the connection is lost. */
  #epoch = 0;
  #isUp = true;
  #isHalfOpen = false;
  #slowUntil = 0;
  #extra = 0;
  #lastArrival = 0;
  #lastAnswer = 0;
  /** Sent, and not answered. */
  #pending: Command[] = [];
  /** They were under way when the connection was lost, and arrive all the same. */
  #survivors: ReadonlySet<Command> = new Set();
  /** Not sent yet. */
  #waiting: Command[] = [];
  /** Called when it is not as it should be, with the virtual time until which that will be felt, as far as is known. */
  readonly #onTrouble: (until: number) => void;

  constructor(
    process: SimulatedProcess,
    server: Server,
    random: Random,
    {
      kind,
      latency,
      onTrouble,
    }: {
      readonly kind: ClientKind;
      readonly latency: number;
      readonly onTrouble: (until: number) => void;
    },
  ) {
    this.process = process;
    this.server = server;
    this.#random = random;
    this.#kind = kind;
    this.#latency = latency;
    this.#onTrouble = onTrouble;
    this.#isUp = server.isUp;
    if (!this.#isUp) this.#reconnectIn(RECONNECT_MS);
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Whether it is slow, half open or lost. */
  get isTroubled(): boolean {
    return !this.#isUp || this.#isHalfOpen || this.process.scheduler.now < this.#slowUntil;
  }

  /** @param apply - what the server does when the command arrives: one atomic step. What it throws is the server's own error. */
  send<Answer>(name: string, apply: () => Answer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const command = { name, apply, resolve, reject } as Command;
      if (this.#isUp) this.#dispatch(command);
      else this.#waiting.push(command);
    });
  }

  /** Everything takes longer for a while. */
  slow(ms: number, extra: number): void {
    this.#slowUntil = this.process.scheduler.now + ms;
    this.#extra = extra;
    this.#noteTrouble(ms + 2 * extra);
  }

  /** Nothing gets through any more, and nobody is told. Then it is cut. */
  stall(ms: number): void {
    if (!this.#isUp) return;
    this.#isHalfOpen = true;
    this.#noteTrouble(ms);
    const epoch = this.#epoch;
    this.process.scheduler.after(ms, () => {
      if (epoch === this.#epoch) this.cut();
    });
  }

  /** The connection is lost. Some of what is under way still arrives; no answer does. */
  cut(downFor: number = RECONNECT_MS): void {
    if (!this.#isUp) return;
    const lost = this.#lose();
    this.#noteTrouble(downFor);
    if (this.#kind === 'sends again') this.#waiting = [...lost, ...this.#waiting];
    else this.process.enter(() => rejectAll(lost));
    this.#reconnectIn(downFor);
  }

  /** Its process ends in good order: what was sent arrives. */
  quit(): void {
    if (!this.#isUp) return;
    this.#survivors = new Set(this.#pending);
    this.#isUp = false;
    this.#epoch++;
  }

  /** Its process has died. */
  die(): void {
    if (this.#isUp) this.#lose();
  }

  /** @returns what was not answered. */
  #lose(): Command[] {
    this.#isUp = false;
    this.#isHalfOpen = false;
    this.#epoch++;
    const arriving = this.#random.between(0, this.#pending.length);
    this.#survivors = new Set(this.#pending.slice(0, arriving));
    const lost = this.#pending;
    this.#pending = [];
    return lost;
  }

  #reconnectIn(ms: number): void {
    this.process.scheduler.after(ms * (0.5 + this.#random.next()), () =>
      this.process.enter(() => {
        this.#noteTrouble(0);
        if (this.server.isUp) this.#comeUp();
        else this.#reconnectIn(RECONNECT_MS);
      }),
    );
  }

  #comeUp(): void {
    this.#isUp = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const command of waiting) this.#dispatch(command);
  }

  #noteTrouble(ms: number): void {
    this.#onTrouble(this.process.scheduler.now + ms);
  }

  #delay(): number {
    const { scheduler } = this.process;
    const extra = scheduler.now < this.#slowUntil ? this.#extra * this.#random.next() : 0;
    return this.#latency * (0.5 + this.#random.next()) + extra;
  }

  #dispatch(command: Command): void {
    const { scheduler } = this.process;
    const epoch = this.#epoch;
    this.#pending.push(command);
    if (this.#isHalfOpen) return;
    this.#lastArrival = Math.max(this.#lastArrival, scheduler.now + this.#delay());
    scheduler.at(this.#lastArrival, () => this.#arrive(command, epoch));
  }

  #arrive(command: Command, epoch: number): void {
    if (!this.server.isUp) return;
    // What was under way when the connection was lost arrives, or is lost with it.
    if (epoch !== this.#epoch && !this.#survivors.has(command)) return;
    let settle: () => void;
    try {
      const answer = command.apply();
      settle = () => command.resolve(answer as never);
    } catch (error) {
      settle = () => command.reject(error as Error);
    }
    this.server.onDone(command.name, this.process);
    if (epoch !== this.#epoch || this.#isHalfOpen) return;
    const { scheduler } = this.process;
    this.#lastAnswer = Math.max(this.#lastAnswer, scheduler.now + this.#delay());
    scheduler.at(this.#lastAnswer, () => {
      if (epoch !== this.#epoch || this.#isHalfOpen) return;
      this.process.enter(() => {
        if (epoch !== this.#epoch) return;
        this.#pending.splice(this.#pending.indexOf(command), 1);
        settle();
      });
    });
  }
}

function rejectAll(commands: readonly Command[]): void {
  for (const { reject } of commands) reject(new Error(CONNECTION_LOST));
}

const CONNECTION_LOST = 'Connection is closed.';

/** Whether an error says that a connection was lost. */
export function isConnectionError(error: unknown): boolean {
  return error instanceof Error && error.message === CONNECTION_LOST;
}
