/** A process that runs a worker in one of the ways of `in-turn.ts`, and notes when each job ran. It starts, counts and stops when asked. */

import { setTimeout as delay } from 'node:timers/promises';
import { type ReadyWorker, type WorkTask, wayNamed } from './in-turn.ts';

export interface InTurnTask extends WorkTask {
  readonly way: string;
  /** How long each job takes, in ms. 0: jobs do nothing. */
  readonly workMs: number;
  /** The first job of all waits until it is let go. */
  readonly holdFirst?: boolean;
}

export type Request = { do: 'prepare'; task: InTurnTask } | { do: 'run' | 'count' | 'letGo' | 'stop' };

/** A job that has run here. Times are in ms, of a clock that all processes of the machine share. */
export interface Ran {
  readonly key: string;
  readonly n: number;
  readonly startedAt: number;
  readonly endedAt: number;
  /** How often it was handed out. */
  readonly starts: number;
}

export interface InTurnOutcome {
  readonly ran: readonly Ran[];
  /** When the worker started. */
  readonly startedAt: number;
  /** CPU time of this process, in microseconds. */
  readonly cpu: number;
}

let worker: ReadyWorker;
let ran: Ran[] = [];
let done = 0;
let startedAt = 0;
let cpuBefore: NodeJS.CpuUsage;
let letGo = () => {};

process.on('message', async (request: Request) => {
  process.send?.(await answer(request));
});

async function answer(request: Request): Promise<object> {
  switch (request.do) {
    case 'prepare':
      await prepare(request.task);
      return {};
    case 'run':
      startedAt = now();
      cpuBefore = process.cpuUsage();
      worker.run();
      return {};
    case 'count':
      return { done };
    case 'letGo':
      letGo();
      return { at: now() };
    case 'stop': {
      const { user, system } = process.cpuUsage(cpuBefore);
      await worker.close();
      return { ran, startedAt, cpu: user + system } satisfies InTurnOutcome;
    }
  }
}

async function prepare({ way, workMs, holdFirst = false, ...task }: InTurnTask): Promise<void> {
  ran = [];
  done = 0;
  const held = new Promise<void>(resolve => {
    letGo = resolve;
  });
  let isFirst = holdFirst;
  const run = async ({ key, n }: { key: string; n: number }, starts: number) => {
    const from = now();
    if (isFirst) {
      isFirst = false;
      await held;
    }
    if (workMs) await delay(workMs);
    ran.push({ key, n, startedAt: from, endedAt: now(), starts });
  };
  worker = await wayNamed(way).work(task, run, () => {
    done++;
  });
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
