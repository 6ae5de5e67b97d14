import { expect } from 'chai';
import { locksOf } from '../../../src/index.ts';
import { Bench } from '../../support/bullmq.ts';
import { redisUrl, until } from '../../support/index.ts';
import { cli, parseLines } from '../run-cli.ts';

describe('bullmq-once why and stats', () => {
  let bench: Bench;
  let inQueue: string[];
  beforeEach(async () => {
    bench = await Bench.open();
    inQueue = ['--redis', redisUrl(), '--queue', bench.queueName];
  });
  afterEach(() => bench.close());

  async function duplicate(options: object = {}) {
    const first = await bench.hold();
    const job = await bench.add({}, options);
    await bench.result(job);
    await until(async () => (await locksOf(bench.queue).journal()).duplicates.length > 0, 'it is noted');
    return { first, job };
  }

  it('say why a job did not run, and what another job holds', async () => {
    const { first, job } = await duplicate();

    const why = await cli('why', job.id as string, ...inQueue);
    const whyNot = await cli('why', first.job.id as string, ...inQueue);
    await first.finish();

    expect(why.code).to.equal(0);
    const [name, line] = why.out.split('\n');
    expect(name).to.equal(`job ${job.id} of ${bench.queueName}`);
    expect(line).to.match(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}skipped: 'k' was held by job 1 of queue-[\w-]+$/,
    );
    expect(whyNot.code).to.equal(1);
    expect(whyNot.out).to.match(/^job 1 of queue-.*\nnow +holds 'k'\n$/);
  });

  it('finds a job by its id, also where that is hostile, and so long that it is kept in a short form', async () => {
    const first = await bench.hold();
    const ids = ['../100%', '__proto__', '\u001b[2J\u202e', `${'x'.repeat(1000)}`];
    for (const jobId of ids) await bench.result(await bench.add({}, { jobId }));
    const isNoted = async () => (await locksOf(bench.queue).journal()).duplicates.length === ids.length;
    await until(isNoted, 'all are noted');
    await first.finish();

    for (const id of ids) {
      const { code, out } = await cli('why', ...inQueue, '--', id);

      expect(code, id).to.equal(0);
      expect(out.split('\n'), id).to.have.length(3);
      expect(out.replaceAll('\n', ''), id).to.match(/^[^\p{Cc}\p{Cf}]*skipped: 'k' was held by job 1 of/u);
    }
  });

  it('say so where a job is not known to be a duplicate', async () => {
    const { first } = await duplicate();
    await first.finish();

    const { code, out } = await cli('why', '4711', ...inQueue);

    expect(code).to.equal(1);
    expect(out).to.match(
      /^job 4711 of queue-.* is not among the last 1 duplicates of this queue, since \d{4}-/,
    );
  });

  it('count the duplicates of the last minutes, hour and day', async () => {
    const { first } = await duplicate();
    await first.finish();

    const { code, out } = await cli('stats', ...inQueue);
    const rows = out.split('\n').map(row => row.split(/ {2,}/));

    expect(code).to.equal(0);
    expect(rows[0]?.slice(0, 3)).to.deep.equal(['DUPLICATES', 'SKIPPED', 'RAISED']);
    expect(rows.slice(1, 5).map(row => row.slice(0, 3))).to.deep.equal([
      ['last minute', '1', '0'],
      ['last 10 minutes', '1', '0'],
      ['last hour', '1', '0'],
      ['last 24 hours', '1', '0'],
    ]);
  });

  it('print lines of JSON (--json)', async () => {
    const { first, job } = await duplicate();
    await first.finish();

    const [why, stats] = [
      await cli('why', job.id as string, ...inQueue, '--json'),
      await cli('stats', ...inQueue, '--json'),
    ];

    expect(parseLines(why.out)[0]).to.include({ jobId: job.id, outcome: 'skipped', key: 'k' });
    expect(parseLines(stats.out)[0]).to.include({ outcome: 'skipped', count: 1 });
  });

  it('need a queue', async () => {
    const { code, err } = await cli('stats', '--redis', redisUrl());

    expect(code).to.equal(2);
    expect(err).to.match(/^bullmq-once: stats needs --queue;/);
  });
});
