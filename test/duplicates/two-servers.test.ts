/** A process that works for two servers: their queues have the same names, and their jobs the same numbers. */

import { type Job, Queue, Worker } from 'bullmq';
import { expect } from 'chai';
import { onceProcessor } from '../../src/index.ts';
import { deferred, uniqueName, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';

describe('A job that is promoted by a job of another queue', () => {
  const names = ['first', 'second'].map(name => uniqueName(name)) as [string, string];
  const opened: (Queue | Worker)[] = [];
  let servers: RedisServer[];
  before(async () => {
    servers = [await RedisServer.start(), await RedisServer.start()];
  });
  after(async () => {
    await Promise.all(opened.map(one => one.close()));
    await Promise.all(servers.map(server => server.stop()));
  });

  it('is one of its own server', async () => {
    const ran: string[] = [];
    const gate = deferred();
    const queues: Queue[][] = [];
    for (const [server, { url }] of servers.entries()) {
      const connection = { url };
      const guarded = onceProcessor(
        async ({ name }: Job<{ key: string }>) => {
          ran.push(`${server} ${name}`);
          if (name === 'holder') await gate.promise;
        },
        { key: '{key}', scope: 'shared', whenLocked: 'in-order', ttl: 60_000 },
      );
      queues.push(names.map(name => new Queue(name, { connection })));
      const workers = names.map(name => new Worker(name, guarded, { connection, concurrency: 3 }));
      opened.push(...(queues[server] as Queue[]), ...workers);
    }
    const [[first, second], [, elsewhere]] = queues as [[Queue, Queue], [Queue, Queue]];
    // Both queues of both servers are known by now; the other server's come last.
    for (const [server, [one, other]] of (queues as [Queue, Queue][]).entries()) {
      await one.add('early', { key: 'early' });
      await other.add('early', { key: 'early' });
      await until(() => ran.filter(name => name === `${server} early`).length === 2);
    }
    const stranger = await elsewhere.add('in an hour', { key: 'other' }, { delay: 3_600_000 });
    await first.add('holder', { key: 'k' });
    await until(() => ran.includes('0 holder'));
    const parked = await second.add('parked', { key: 'k' });
    await until(async () => (await parked.getState()) === 'delayed');
    expect(parked.id).to.equal(stranger.id);

    gate.resolve();
    await until(() => ran.includes('0 parked'));

    expect(await stranger.getState()).to.equal('delayed');
    expect(ran).not.to.include('1 in an hour');
  });
});
