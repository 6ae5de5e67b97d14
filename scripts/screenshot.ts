/** Creates docs/board.png: the board of queues whose jobs hold locks. `npx tsx scripts/screenshot.ts` */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { createBoard } from '../src/board.ts';
import { onceProcessor, RedisCache } from '../src/index.ts';
import { openBrowser } from '../test/support/browser.ts';
import { RedisServer } from '../test/support/redis-server.ts';

const file = fileURLToPath(new URL('../docs/board.png', import.meta.url));
const server = await RedisServer.start();
const connection = { port: server.port };
const queues = ['emails', 'imports', 'reports'].map(name => new Queue(name, { connection }));
const workers = queues.map(
  ({ name }) =>
    new Worker(
      name,
      onceProcessor(job => delay(job.data.ms), { key: '{key}', dedupeFor: name === 'reports' ? 90_000 : 0 }),
      { connection, concurrency: 20 },
    ),
);
const [emails, imports, reports] = queues as [Queue, Queue, Queue];
await reports.add('report', { key: 'report-2026-11', ms: 10 });
await imports.add('import', { key: 'feed-https://example.org/prices.csv', ms: 60_000 });
await delay(3000);
await emails.add('welcome', { key: 'welcome-42', ms: 60_000 });
await emails.add('welcome', { key: 'welcome-1077', ms: 60_000 });
await imports.add('import', { key: 'customers-eu', ms: 60_000 });
await delay(1000);

const board = createBoard({ queues, allowForceRelease: true });
// Fills the chart of the last hour.
const redis = new Redis(connection);
const counts = Array.from({ length: 59 }, (_, i) => {
  const minute = Math.floor(Date.now() / 60_000) * 60_000 - (i + 1) * 60_000;
  const wave = Math.max(Math.round(6 + 5 * Math.sin(i / 3) + 3 * Math.sin(i * 2)), 0);
  return [
    { minute, outcome: 'skipped', count: wave },
    { minute, outcome: 'delayed', count: Math.floor(wave / 5) },
    { minute, outcome: 'raised', count: Math.floor(wave / 9) },
  ] as const;
}).flat();
await new RedisCache(redis).writeJournal([{ queue: 'bull:emails', counts, duplicates: [] }]);
redis.disconnect();
for (let i = 0; i < 7; i++) await emails.add('welcome', { key: 'welcome-42', ms: 1 });
await delay(4000);

const web = createServer(board.node).listen(0, '127.0.0.1');
const browser = await openBrowser();
const page = await browser.newPage({ viewport: { width: 1040, height: 860 }, deviceScaleFactor: 1.5 });
await page.goto(`http://127.0.0.1:${(web.address() as AddressInfo).port}/`);
await page.locator('#locks tr').nth(3).waitFor();
await delay(500);
await page.screenshot({ path: file });
await browser.close();
web.closeAllConnections();
web.close();
board.close();
await Promise.all(workers.map(worker => worker.close(true)));
await Promise.all(queues.map(queue => queue.close()));
await server.stop();
process.exit();
