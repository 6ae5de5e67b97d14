/** A TCP proxy on a free port, which does to connections what networks do. */

import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';

/** What becomes of what one side sends. */
type Passage = 'open' | 'stalled' | 'lost';

export class TcpProxy {
  readonly #server: Server;
  readonly #to: number;
  readonly #pairs = new Set<Pair>();
  /** How long each piece of data is under way, in ms. */
  #delay: () => number = () => 0;
  #requests: Passage = 'open';
  #replies: Passage = 'open';

  private constructor(server: Server, to: number) {
    this.#server = server;
    this.#to = to;
    server.on('connection', client => this.#pass(client));
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

  /** Everything takes longer from now on. What one side sends stays in order. */
  slow(delay: () => number): void {
    this.#delay = delay;
  }

  /** Nothing gets through, and comes late when it is healed: as where packets are dropped and sent again. */
  stall(): void {
    this.#requests = 'stalled';
    this.#replies = 'stalled';
  }

  /** What clients send is executed, and they never hear of it. */
  loseReplies(): void {
    this.#replies = 'lost';
  }

  /** The server's ends are closed, and the clients are not told: what they send goes nowhere. */
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

  /** All is well from now on. Connections that lost anything are reset, as a network would in the end. */
  heal(): void {
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

  #pass(client: Socket): void {
    const server = dial(this.#to, '127.0.0.1');
    const pair = new Pair(client, server);
    this.#pairs.add(pair);
    const toServer = new Lane(server, () => this.#requests);
    const toClient = new Lane(client, () => this.#replies);
    pair.lanes.push(toServer, toClient);
    for (const socket of [client, server]) socket.setNoDelay(true).on('error', () => {});
    client.on('data', data => toServer.send(data, this.#delay()));
    server.on('data', data => toClient.send(data, this.#delay()));
    client.on('close', () => {
      this.#pairs.delete(pair);
      server.destroy();
    });
    // A client of a half-open connection is not told.
    server.on('close', () => {
      if (this.#replies !== 'lost') client.destroy();
    });
  }
}

/** A connection's two ends. */
class Pair {
  readonly lanes: Lane[] = [];
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
    for (const lane of this.lanes) lane.deliver();
  }
}

/** One direction of a connection: what is sent arrives in order, later, or never. */
class Lane {
  readonly #to: Socket;
  readonly #passage: () => Passage;
  readonly #underWay: { readonly data: Buffer; readonly dueAt: number }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(to: Socket, passage: () => Passage) {
    this.#to = to;
    this.#passage = passage;
  }

  send(data: Buffer, ms: number): void {
    const before = this.#underWay.at(-1)?.dueAt ?? 0;
    this.#underWay.push({ data, dueAt: Math.max(before, performance.now() + ms) });
    this.deliver();
  }

  /** Lets arrive what is due, unless the way is closed. */
  deliver(): void {
    const passage = this.#passage();
    if (passage === 'stalled') return;
    for (;;) {
      const next = this.#underWay[0];
      if (!next) return;
      const left = next.dueAt - performance.now();
      if (left > 0) {
        this.#deliverIn(left);
        return;
      }
      this.#underWay.shift();
      if (passage === 'open' && this.#to.writable) this.#to.write(next.data);
    }
  }

  #deliverIn(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.deliver();
    }, ms);
  }
}
