/** The wall clock of the datastore jumps. Redis ends leases, and makes fences, by it. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from './faults.ts';
import { now, type Recorder } from './history.ts';
import type { ClockedRedisStore } from './stores.ts';

const AN_HOUR_S = 3600;

export const OF_SERVER_CLOCKS: readonly Fault<ClockedRedisStore>[] = [
  {
    name: "the server's wall clock jumps ahead, and back",
    async inject({ store, queues, recorder, random, ttl }) {
      setAhead(store, AN_HOUR_S, recorder);
      await delay(random.between(0, ttl));
      setBack(store, 0, recorder);
      // BullMQ would not look for stalled jobs for an hour: it looks when this key has expired.
      for (const { qualifiedName } of queues)
        await store.server.call('DEL', `${qualifiedName}:stalled-check`);
    },
  },
  {
    name: "the server's wall clock jumps back, and ahead",
    async inject({ store, recorder, random, ttl }) {
      setBack(store, -AN_HOUR_S, recorder);
      await delay(random.between(0, ttl));
      setAhead(store, 0, recorder);
    },
  },
];

/** Every lease ends early: it is lost. */
function setAhead({ clock }: ClockedRedisStore, seconds: number, recorder: Recorder): void {
  const from = now();
  clock.set(seconds);
  recorder.record({ event: 'data-lost', from });
}

function setBack({ clock }: ClockedRedisStore, seconds: number, recorder: Recorder): void {
  recorder.record({ event: 'clock-set-back' });
  clock.set(seconds);
}
