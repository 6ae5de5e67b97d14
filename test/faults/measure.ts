/** Measures the resources of a process. It must run with `--expose-gc`. */

import { setTimeout as delay } from 'node:timers/promises';

export interface Measurement {
  /** Bytes that are in use after all garbage was collected. */
  readonly heap: number;
  /** Timers that keep the process alive. */
  readonly timers: number;
  readonly sockets: number;
  /** Listeners of the process itself. */
  readonly listeners: number;
}

export async function measure(): Promise<Measurement> {
  const { gc } = globalThis as { gc?: () => void };
  if (!gc) throw new Error('run this with --expose-gc');
  // What finalizers and closed connections hold is freed by a second collection.
  for (let i = 0; i < 3; i++) {
    gc();
    await delay(20);
  }
  const resources = process.getActiveResourcesInfo();
  const count = (pattern: RegExp) => resources.filter(name => pattern.test(name)).length;
  return {
    heap: process.memoryUsage().heapUsed,
    timers: count(/Timeout/),
    sockets: count(/TCP/),
    listeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
  };
}
