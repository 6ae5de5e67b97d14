/** The simulated server: the datastore of locks and BullMQ's queues, on one clock. It may be down, refuse writes, or lose its data. */

import type { StoredKey } from '../../src/cache/line-rules.ts';
import type { Clock } from './clock.ts';
import type { Datastore } from './datastore.ts';
import type { SimulatedProcess } from './process.ts';
import type { QueueModel, QueueSnapshot } from './queue-model.ts';
import type { Scheduler } from './scheduler.ts';

/** What a replica has. */
export interface Replica {
  readonly keys: ReadonlyMap<string, StoredKey>;
  readonly queues: readonly QueueSnapshot[];
}

export class Server {
  readonly clock: Clock;
  readonly locks: Datastore;
  readonly queues: readonly QueueModel[];
  readonly scheduler: Scheduler;
  isUp = true;
  /** It is out of memory, or a replica that is read-only. */
  refuses: 'nothing' | 'acquisitions' | 'writes' = 'nothing';
  /** Called when a command was carried out, before its answer is sent. */
  onDone: (command: string, process: SimulatedProcess) => void = () => {};
  /** Called with the key of a release. */
  readonly listeners: Map<string, Set<() => void>> = new Map<string, Set<() => void>>();

  constructor(scheduler: Scheduler, clock: Clock, locks: Datastore, queues: readonly QueueModel[]) {
    this.scheduler = scheduler;
    this.clock = clock;
    this.locks = locks;
    this.queues = queues;
    locks.onNotify = storedKey => {
      for (const call of this.listeners.get(storedKey) ?? []) call();
    };
  }

  queueNamed(qualifiedName: string): QueueModel | undefined {
    return this.queues.find(({ name }) => `bull:${name}` === qualifiedName);
  }

  replicate(): Replica {
    return { keys: this.locks.snapshot(), queues: this.queues.map(queue => queue.snapshot()) };
  }

  failOverTo({ keys, queues }: Replica): void {
    this.locks.restore(keys);
    for (const [i, queue] of queues.entries()) this.queues[i]?.restore(queue);
  }
}
