/**
 * How what jobs that continue together write to a Redis server becomes packets. The server answers all that it has read together at
 * once, at the end.
 */

import { getOrCreate } from '../../core/get-or-create.ts';
import { nextTurn } from '../../core/timers.ts';
import type { Packets } from '../contract.ts';

/** The socket of an ioredis client. Each command is a write of its own, which costs more than to make the command. */
interface Socket {
  cork(): void;
  uncork(): void;
}

/** Asked each time: an ioredis client has no socket before it connects, and another one after it has connected anew. */
export function packetsOf(client: object): Packets | undefined {
  if (collectsWrites(client)) return PACKETS_OF_TURNS;
  const socket = socketOf(client);
  return socket && getOrCreate(heldPackets, socket, () => new HeldPackets(socket));
}

const heldPackets = new WeakMap<Socket, HeldPackets>();

/**
 * For so many rounds of promise callbacks writes are held back. BullMQ needs twelve to write a completion. The callbacks of a processor may
 * go on for long, and others do not wait for them.
 */
const ROUNDS = 32;

/** Holds back for a moment what an ioredis client writes, so that it leaves as one packet. The order of the commands stays. */
class HeldPackets implements Packets {
  /** What few write is not held back: the server begins with the first while the others prepare theirs. */
  readonly minCount = 8;
  readonly #socket: Socket;
  #written: Promise<void> | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  begin(): Promise<void> {
    this.#written ??= this.#writeSoon();
    return this.#written;
  }

  /** By promise callbacks alone: a test may have replaced all that schedules work. */
  async #writeSoon(): Promise<void> {
    this.#socket.cork();
    for (let round = 0; round < ROUNDS; round++) await undefined;
    this.#written = undefined;
    this.#socket.uncork();
  }
}

/**
 * node-redis writes the commands of a turn of the event loop as one packet, in the next turn. If all jobs of a batch continued in one turn,
 * client and server would wait for each other by turns: neither had work while the other one did.
 */
const PACKETS_OF_TURNS: Packets = {
  minCount: 2,
  async begin() {
    await nextTurn();
    await nextTurn();
  },
};

/** A client of node-redis, or BullMQ's wrapper of one. */
function collectsWrites(client: object): boolean {
  const { raw = client } = client as { readonly raw?: object };
  return typeof (raw as { evalSha?: unknown } | null)?.evalSha === 'function';
}

/** The socket of an ioredis client that is connecting or connected. */
function socketOf(client: object): Socket | undefined {
  const { stream } = client as { readonly stream?: Partial<Socket> | null };
  const isSocket = typeof stream?.cork === 'function' && typeof stream.uncork === 'function';
  return isSocket ? (stream as Socket) : undefined;
}
