/** Bull Board shows jobs, and our board shows who holds which lock, both in one Express app. PORT=3000 keeps it open. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { ExpressAdapter } from '@bull-board/express';
import { Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';
import { createBoard } from 'bullmq-once/board';
import express from 'express';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('letters-to-print', { connection });
const print = onceProcessor(() => new Promise(resolve => setTimeout(resolve, 2000)), { key: 'letter-{id}' });
const worker = new Worker('letters-to-print', print, { connection, concurrency: 10 });
await queue.addBulk([1, 1, 2].map(id => ({ name: 'print', data: { id } })));

const app = express();
const bullBoard = new ExpressAdapter();
bullBoard.setBasePath('/jobs');
createBullBoard({ queues: [new BullMQAdapter(queue)], serverAdapter: bullBoard });
app.use('/jobs', bullBoard.getRouter());

// All who reach this server may release locks: it listens on this machine only.
const board = createBoard({ queues: [queue], title: 'Locks of letters', allowForceRelease: true });
app.use('/locks', board.node);

const server = createServer(app).listen(Number(process.env.PORT ?? 0), '127.0.0.1');
await new Promise(resolve => server.once('listening', resolve));
const { port } = server.address() as AddressInfo;
for (const path of ['jobs', 'locks/']) {
  const { status } = await fetch(`http://127.0.0.1:${port}/${path}`);
  console.log(`/${path}: ${status}`);
}

if (process.env.PORT === undefined) {
  await worker.close();
  await queue.close();
  board.close();
  server.closeAllConnections();
  server.close();
}
