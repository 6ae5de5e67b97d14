/** Lets what one turn of the event loop writes to a socket leave as one packet. */

import { nextTick, queueMicrotask } from '../../core/timers.ts';

/** The socket of an ioredis client. Each command is a write of its own, which costs more than to make the command. */
interface Socket {
  cork(): void;
  uncork(): void;
}

const held = new WeakSet<Socket>();

/**
 * Holds back what an ioredis client writes, until the promise callbacks have run that run now. The order of the commands stays, and
 * none waits for longer than this turn. Does nothing to other clients: they collect the commands of a turn by themselves.
 */
export function holdWrites(client: object): void {
  const socket = socketOf(client);
  if (!socket || held.has(socket)) return;
  held.add(socket);
  socket.cork();
  // A tick that is queued by a promise callback runs after all promise callbacks.
  queueMicrotask(() => nextTick(write, socket));
}

function write(socket: Socket): void {
  held.delete(socket);
  socket.uncork();
}

/** The socket of an ioredis client that is connecting or connected. */
export function socketOf(client: object): Socket | undefined {
  const { stream } = client as { readonly stream?: Partial<Socket> | null };
  const isSocket = typeof stream?.cork === 'function' && typeof stream.uncork === 'function';
  return isSocket ? (stream as Socket) : undefined;
}
