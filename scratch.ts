import { Queue, QueueEvents, Worker } from 'bullmq';
import { onceProcessor } from './src/index.ts';

const connection = { port: 7777 };
const q = new Queue('emails', { connection });
await q.obliterate({ force: true });
const mode = process.argv[2];
const conc = +(process.argv[3] ?? 50);
const N = +(process.argv[4] ?? 20000);
await q.addBulk(Array.from({ length: N }, (_, i) => ({ name: 'a', data: { userId: i } })));
let ran = 0,
  done = 0;
const fn = async () => {
  ran++;
};
const t = performance.now();
await new Promise<void>(res => {
  const w = new Worker('emails', mode === 'bare' ? fn : onceProcessor(fn, { key: 'welcome-{userId}' }), {
    connection,
    concurrency: conc,
  });
  w.on('error', console.error);
  w.on('failed', (j, e) => console.error(e));
  w.on('completed', async () => {
    if (++done === N) {
      const ms = performance.now() - t;
      console.log(mode, conc, Math.round((N / ms) * 1000), 'jobs/s ran', ran);
      await w.close();
      res();
    }
  });
});
await q.close();
