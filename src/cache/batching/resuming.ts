/**
 * Lets those who wait for a cache continue, in groups. If they all continued at once, the jobs of one batch would end, be reported to
 * the server and be answered together again and again: client and server would wait for each other by turns, and a worker without
 * other work would lose a tenth of its throughput, or a third of it on node-redis.
 *
 * What a group writes leaves as one packet, where the cache can say what becomes one.
 */

import { nextTurn } from '../../core/timers.ts';
import type { Packets } from '../contract.ts';

/** How many continue together at most. Measured: half of it and twice of it are no better. */
const MAX_GROUP = 8;

/**
 * Calls `resume` for each item, a group in each turn of the event loop: at once for the first group, so that a lone one never waits.
 * @param packets - absent where nothing is known of them.
 */
export async function resumeInGroups<Item>(
  items: readonly Item[],
  resume: (item: Item, i: number) => void,
  packets: Packets | undefined,
): Promise<void> {
  const packetSize = sizeOfPacket(items.length, packets);
  const size = packetSize ?? MAX_GROUP;
  for (let next = 0; next < items.length; next += size) {
    if (next > 0) await nextTurn();
    const written = packetSize && packets?.begin();
    for (const [i, item] of items.slice(next, next + size).entries()) resume(item, next + i);
    await written;
  }
}

/**
 * Calls `resume` for each item, a group as soon as the one before has written, because their time runs until they continue. Where nothing
 * is known of packets, all are one group.
 */
export async function resumeByPackets<Item>(
  items: readonly Item[],
  resume: (item: Item) => void,
  packets: Packets | undefined,
): Promise<void> {
  const packetSize = sizeOfPacket(items.length, packets);
  const size = packetSize ?? items.length;
  for (let next = 0; next < items.length; next += size) {
    const written = packetSize && packets?.begin();
    for (const item of items.slice(next, next + size)) resume(item);
    await written;
  }
}

/** Two groups at least: while the server works on one, the next prepares what it writes. */
function sizeOfPacket(count: number, packets: Packets | undefined): number | undefined {
  return packets && count >= packets.minCount ? Math.min(Math.ceil(count / 2), MAX_GROUP) : undefined;
}
