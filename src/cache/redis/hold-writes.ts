/** Lets what jobs that continue together write to a socket leave as one packet. */

import { getOrCreate } from '../../core/get-or-create.ts';

/** The socket of an ioredis client. Each command is a write of its own, which costs more than to make the command. */
interface Socket {
  cork(): void;
  uncork(): void;
}

/**
 * For so many rounds of promise callbacks writes are held back. BullMQ needs twelve to write a completion. The callbacks of a processor may
 * go on for long, and others do not wait for them.
 */
const ROUNDS = 32;

const held = new WeakMap<Socket, Promise<void>>();

/**
 * Holds back for a moment what an ioredis client writes. The order of the commands stays. Does nothing to other clients: they collect
 * the commands of a turn by themselves.
 * @returns resolves when it was written.
 */
export function holdWrites(client: object): Promise<void> | undefined {
  const socket = socketOf(client);
  return socket && getOrCreate(held, socket, () => writeSoon(socket));
}

/** By promise callbacks alone: a test may have replaced all that schedules work. */
async function writeSoon(socket: Socket): Promise<void> {
  socket.cork();
  for (let round = 0; round < ROUNDS; round++) await undefined;
  held.delete(socket);
  socket.uncork();
}

/** The socket of an ioredis client that is connecting or connected. */
export function socketOf(client: object): Socket | undefined {
  const { stream } = client as { readonly stream?: Partial<Socket> | null };
  const isSocket = typeof stream?.cork === 'function' && typeof stream.uncork === 'function';
  return isSocket ? (stream as Socket) : undefined;
}
