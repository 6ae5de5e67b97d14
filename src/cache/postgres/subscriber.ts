/**
 * Listens to the channel on which the function of `postgres-sql.ts` tells of keys. Behind some poolers and in PGlite
 * nothing is ever told, so a connection counts as listening only once it has heard itself.
 */

import { randomUUID } from 'node:crypto';
import { CHANNEL } from './queries.ts';
import { type Channel, Subscriber } from '../notify/subscriber.ts';

/** What is asked of a `pg.Client`. */
interface Client {
  connect(): Promise<unknown>;
  query(text: string, values?: unknown[]): Promise<unknown>;
  on(event: string, listener: (...args: any[]) => void): unknown;
  end(): Promise<unknown>;
}

/** What a `pg.Pool` makes its own clients of. */
interface ClientFactory {
  readonly Client?: new (options: unknown) => Client;
  readonly options?: unknown;
}

export function postgresSubscriber(pool: object): Subscriber {
  const { Client, options } = pool as ClientFactory;
  return new Subscriber(async (tell, lost) => (Client ? open(new Client(options), tell, lost) : undefined));
}

async function open(client: Client, tell: (key: string) => void, lost: () => void): Promise<Channel> {
  const hello = randomUUID();
  let isUp = false;
  client.on('error', lost);
  client.on('end', lost);
  client.on('notification', ({ payload }: { payload: string }) => {
    if (payload === hello) isUp = true;
    else tell(payload);
  });
  await client.connect();
  await client.query(`LISTEN ${CHANNEL}`);
  await client.query('SELECT pg_notify($1, $2)', [CHANNEL, hello]);
  return {
    get isUp() {
      return isUp;
    },
    // It hears of all keys.
    listen: async () => {},
    unlisten: async () => {},
    close: () => client.end().catch(() => {}),
  };
}
