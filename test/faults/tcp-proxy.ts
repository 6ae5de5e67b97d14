/** A TCP proxy on a free port, which can do to connections what networks do to them. */

import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';

/** What becomes of the data that one side sends. */
type Flow = 'open' | 'stalled' | 'lost';

export class TcpProxy {
  readonly #server: Server;
  readonly #to: number;
  readonly #pairs = new Set<Pair>();
  /** How long each chunk is under way, in ms. */
  #delay: () => number = () => 0;
  #requests: Flow = 'open';
  #replies: Flow = 'open';

  private constructor(server: Server, to: number) {
    this.#server = server;
    this.#to = to;
    server.on('connection', client => this.#connect(client));
  }

  /** @param to - the port of the server behind it. */
  static async start(to: number): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server, to);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Delays all data from now on. What one side sends stays in order. */
  slow(delay: () => number): void {
    this.#delay = delay;
  }

  /** Nothing arrives until it is repaired, and then it arrives late: as where packets are dropped and sent again. */
  stall(): void {
    this.#requests = 'stalled';
    this.#replies = 'stalled';
  }

  /** The server executes what clients send, and its answers are lost. */
  loseReplies(): void {
    this.#replies = 'lost';
  }

  /** The server's ends are closed, and the clients do not learn of it: what they send is lost. */
  halfOpen(): void {
    this.#requests = 'lost';
    this.#replies = 'lost';
    for (const { server } of this.#pairs) server.destroy();
  }

  /** Resets all connections. */
  cut(): void {
    for (const pair of this.#pairs) pair.reset();
    this.#pairs.clear();
  }

  /** Ends every fault. Connections that lost data are reset, as a network would do in the end. */
  repair(): void {
    if (this.#requests === 'lost' || this.#replies === 'lost') this.cut();
    this.#delay = () => 0;
    this.#requests = 'open';
    this.#replies = 'open';
    for (const pair of this.#pairs) pair.deliver();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #connect(client: Socket): void {
    const server = dial(this.#to, '127.0.0.1');
    const pair = new Pair(client, server);
    this.#pairs.add(pair);
    const toServer = new Direction(server, () => this.#requests);
    const toClient = new Direction(client, () => this.#replies);
    pair.directions.push(toServer, toClient);
    for (const socket of [client, server]) socket.setNoDelay(true).on('error', () => {});
    client.on('data', data => toServer.send(data, this.#delay()));
    server.on('data', data => toClient.send(data, this.#delay()));
    client.on('close', () => {
      this.#pairs.delete(pair);
      server.destroy();
    });
    // The client of a half-open connection does not learn of it.
    server.on('close', () => {
      if (this.#replies !== 'lost') client.destroy();
    });
  }
}

/** A connection's two ends. */
class Pair {
  readonly directions: Direction[] = [];
  readonly client: Socket;
  readonly server: Socket;

  constructor(client: Socket, server: Socket) {
    this.client = client;
    this.server = server;
  }

  reset(): void {
    this.client.resetAndDestroy();
    this.server.destroy();
  }

  deliver(): void {
    for (const direction of this.directions) direction.deliver();
  }
}

/** One direction of a connection: its data arrive in order, late, or never. */
class Direction {
  readonly #to: Socket;
  readonly #flow: () => Flow;
  readonly #underWay: { readonly data: Buffer; readonly dueAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(to: Socket, flow: () => Flow) {
    this.#to = to;
    this.#flow = flow;
  }

  send(data: Buffer, ms: number): void {
    const before = this.#underWay.at(-1)?.dueAt ?? 0;
    this.#underWay.push({ data, dueAt: Math.max(before, performance.now() + ms) });
    this.deliver();
  }

  /** Delivers what is due, unless the flow is stalled. */
  deliver(): void {
    const flow = this.#flow();
    if (flow === 'stalled') return;
    for (;;) {
      const next = this.#underWay[0];
      if (!next) return;
      const left = next.dueAt - performance.now();
      if (left > 0) {
        this.#deliverIn(left);
        return;
      }
      this.#underWay.shift();
      if (flow === 'open' && this.#to.writable) this.#to.write(next.data);
    }
  }

  #deliverIn(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.deliver();
    }, ms);
  }
}
