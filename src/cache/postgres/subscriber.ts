/**
 * Listens to the channel on which the functions of `migration.ts` notify releases. Behind some poolers and in PGlite no
 * notification ever arrives, so a connection counts as listening only after it has received one of its own.
 */

import { randomUUID } from 'node:crypto';
import { Subscriber, type Subscription } from '../notify/subscriber.ts';
import { CHANNEL } from './migration.ts';

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

export function postgresSubscriber(pool: object): Subscriber {
  const { Client, options } = pool as ClientFactory;
  return new Subscriber(async (onRelease, onEnd) =>
    Client ? open(new Client(options), onRelease, onEnd) : undefined,
  );
}

async function open(
  client: Client,
  onRelease: (rowKey: string) => void,
  onEnd: () => void,
): Promise<Subscription> {
  const ownMessage = randomUUID();
  let isUp = false;
  client.on('error', onEnd);
  client.on('end', onEnd);
  client.on('notification', ({ payload }: { payload: string }) => {
    if (payload === ownMessage) isUp = true;
    else onRelease(payload);
  });
  await client.connect();
  await client.query(`LISTEN ${CHANNEL}`);
  await client.query('SELECT pg_notify($1, $2)', [CHANNEL, ownMessage]);
  return {
    get isUp() {
      return isUp;
    },
    // The channel carries the releases of all keys.
    subscribe: async () => {},
    unsubscribe: async () => {},
    close: () => client.end().catch(() => {}),
  };
}
