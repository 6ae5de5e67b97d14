/**
 * Listens to the channel on which the functions of `migration.ts` notify releases. In PGlite and behind some poolers no
 * notification of another connection ever arrives (PgBouncer in transaction mode answers LISTEN, and gives the connection to others).
 * So the pool sends a probe now and then, and the connection counts as listening only while it receives them.
 */

import { randomUUID } from 'node:crypto';
import { Subscriber, type Subscription } from '../notify/subscriber.ts';
import type { PostgresPool } from './pool.ts';
import { CHANNEL } from './step-sql.ts';

/** What is needed of a `pg.Client`. */
interface Client {
  connect(): Promise<unknown>;
  query(text: string, values?: unknown[]): Promise<unknown>;
  on(event: string, listener: (...args: any[]) => void): unknown;
  end(): Promise<unknown>;
}

/** What a `pg.Pool` creates its own clients with. */
interface ClientFactory {
  readonly Client?: new (options: unknown) => Client;
  readonly options?: unknown;
}

/** A probe is sent this often. */
const PROBE_INTERVAL_MS = 5000;
/** A probe that was not received within this time is lost. */
const MAX_PROBE_MS = 1000;

export function postgresSubscriber(pool: PostgresPool): Subscriber {
  const { Client, options } = pool as ClientFactory;
  return new Subscriber((onRelease, onEnd) =>
    Client ? subscriptionOf(new Client(options), pool, onRelease, onEnd) : undefined,
  );
}

function subscriptionOf(
  client: Client,
  pool: PostgresPool,
  onRelease: (notifiedAs: string) => void,
  onEnd: () => void,
): Subscription {
  const probe = new Probe(pool);
  client.on('error', onEnd);
  client.on('end', onEnd);
  client.on('notification', ({ payload }: { payload: string }) => {
    if (!probe.receive(payload)) onRelease(payload);
  });
  return {
    get isUp() {
      return probe.isReceived;
    },
    async connect() {
      await client.connect();
      await client.query(`LISTEN ${CHANNEL}`);
      probe.start();
    },
    // The channel carries the releases of all keys.
    subscribe: async () => {},
    unsubscribe: async () => {},
    close() {
      probe.stop();
      return client.end();
    },
  };
}

/** Messages that the pool sends to the channel, to see whether the listening connection receives what others send. */
class Probe {
  readonly #pool: PostgresPool;
  readonly #message = randomUUID();
  #sentAt = 0;
  /** When the last probe was sent that was received. */
  #receivedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(pool: PostgresPool) {
    this.#pool = pool;
  }

  /** Whether the last probe was received, or may still be on its way. */
  get isReceived(): boolean {
    const isOnItsWay = performance.now() - this.#sentAt < MAX_PROBE_MS;
    return this.#receivedAt >= this.#sentAt || (isOnItsWay && Number.isFinite(this.#receivedAt));
  }

  start(): void {
    if (this.#isStopped) return;
    this.#send();
    this.#timer = setInterval(() => this.#send(), PROBE_INTERVAL_MS).unref();
  }

  stop(): void {
    this.#isStopped = true;
    clearInterval(this.#timer);
  }

  /** @returns whether the message is a probe. */
  receive(message: string): boolean {
    if (message !== this.#message) return false;
    this.#receivedAt = performance.now();
    return true;
  }

  #send(): void {
    this.#sentAt = performance.now();
    // A probe that can't be sent is not received.
    this.#pool.query('SELECT pg_notify($1, $2)', [CHANNEL, this.#message]).catch(() => {});
  }
}
