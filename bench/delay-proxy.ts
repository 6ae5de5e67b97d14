/**
 * A network that is not loopback: a TCP proxy that delays what passes, in both directions. Forked, it is a process of its own: it
 * answers a message `{ port, ms }` with the port that it listens on.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

interface Route {
  /** Of the server, which is on this machine. */
  readonly port: number;
  /** The delay each way. */
  readonly ms: number;
}

export interface DelayProxy {
  readonly port: number;
  close(): void;
}

/** Starts a proxy in a process of its own. */
export async function startDelayProxy(route: Route): Promise<DelayProxy> {
  const child = fork(fileURLToPath(import.meta.url), ['proxy']);
  child.send(route);
  const [port] = await once(child, 'message');
  return { port, close: () => child.kill() };
}

if (process.argv[2] === 'proxy' && process.send) {
  process.once('message', async (route: Route) => {
    process.send?.(portOf(await listenDelayed(route)));
  });
  // It does not outlive the process that started it.
  process.once('disconnect', () => process.exit());
}

/** The same in this process. */
export async function listenDelayed({ port, ms }: Route): Promise<Server> {
  const server = createServer({ noDelay: true }, client => {
    const upstream = connect({ port, host: '127.0.0.1', noDelay: true });
    pass(client, upstream, ms);
    pass(upstream, client, ms);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Passes on what comes, in its order, each part `ms` later than it came. */
function pass(from: Socket, to: Socket, ms: number): void {
  const parts: { readonly bytes: Buffer; readonly due: number }[] = [];
  const forward = () => {
    for (;;) {
      const [next] = parts;
      if (!next) return;
      if (next.due > performance.now()) return wait(next.due);
      to.write(next.bytes);
      parts.shift();
    }
  };
  // Timers count whole milliseconds, and may be early or late by a part of one. A short rest is waited for turn by turn.
  const wait = (due: number) => {
    const left = due - performance.now();
    if (left > 0.5) setTimeout(forward, left);
    else setImmediate(forward);
  };
  from.on('data', (bytes: Buffer) => {
    const due = performance.now() + ms;
    parts.push({ bytes, due });
    if (parts.length === 1) wait(due);
  });
  from.on('error', () => {});
  from.on('close', () => to.destroy());
}
