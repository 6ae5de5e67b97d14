/** What a board shows of the duplicates of its queues, in all processes. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type BoardOptions, createBoard } from '../../src/board.ts';
import { locksOf } from '../../src/index.ts';
import { Bench } from '../support/bullmq.ts';
import { until } from '../support/index.ts';
import { shownBy } from './served-board.ts';

describe('The duplicates that a board shows', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  async function duplicate(options: object = {}): Promise<Job> {
    const first = await bench.hold();
    const job = await bench.add({}, options);
    await bench.result(job);
    await first.finish();
    await until(async () => (await locksOf(bench.queue).journal()).duplicates.length > 0, 'it is noted');
    return job;
  }

  function open(options: Partial<BoardOptions> = {}) {
    const board = createBoard({ queues: [bench.queue], ...options });
    const duplicatesOf = async (jobId: string) => {
      const request = new Request(`http://localhost/api/duplicates/${encodeURIComponent(jobId)}`);
      return ((await (await board.fetch(request)).json()) as any).duplicates;
    };
    return { board, duplicatesOf };
  }

  it('are counted by the minute, in all processes', async () => {
    const { board } = open();
    await duplicate();

    const { outcomes } = await shownBy(board);
    board.close();

    expect(outcomes).to.have.length(60);
    const [last, current] = outcomes.slice(-2);
    expect(last.skipped + current.skipped).to.equal(1);
    expect(current).to.include({ raised: 0, delayed: 0, parked: 0, handled: 0 });
  });

  it('are named with what became of them, and link to their jobs', async () => {
    const { board } = open({ jobUrl: 'https://ops.example.com/queue/{queue}/{id}' });
    const job = await duplicate();

    const { duplicates } = await shownBy(board);
    board.close();

    const name = bench.queueName;
    expect(duplicates).to.have.length(1);
    expect(duplicates[0]).to.include({
      name: `job ${job.id} of ${name}`,
      place: `bull:${name}`,
      url: `https://ops.example.com/queue/${name}/${job.id}`,
      text: `skipped: 'k' was held by job 1 of ${name}`,
      outcome: 'skipped',
    });
  });

  it('are found by the id of a job that is hostile, or so long that it is kept in a short form', async () => {
    const { board, duplicatesOf } = open();
    const first = await bench.hold();
    const ids = ['../x', '%2e%2e', '100%', '__proto__', ':once:1', '\u001b[2J\u202e', `${'x'.repeat(1000)}`];
    for (const jobId of ids) await bench.result(await bench.add({}, { jobId }));
    const isNoted = async () => (await locksOf(bench.queue).journal()).duplicates.length === ids.length;
    await until(isNoted, 'all are noted');
    await first.finish();

    for (const id of ids) {
      const found = await duplicatesOf(id);

      expect(found, id).to.have.length(1);
      expect(found[0].name, id).to.match(/^[^\p{Cc}\p{Cf}]{1,600}$/u);
      const [byKeptId] = await duplicatesOf(found[0].name.replace(/^job (.*) of .*$/, '$1'));
      if (id.length > 500) expect(byKeptId, id).to.deep.equal(found[0]);
    }
    expect(await duplicatesOf('constructor')).to.deep.equal([]);
    board.close();
  });

  it('are found by the id of a job', async () => {
    const { board, duplicatesOf } = open();
    const job = await duplicate();

    const [found, none] = [await duplicatesOf(job.id as string), await duplicatesOf('a/b %')];
    board.close();

    expect(found.map(({ name }: { name: string }) => name)).to.deep.equal([
      `job ${job.id} of ${bench.queueName}`,
    ]);
    expect(none).to.deep.equal([]);
  });

  it('are found by an id that is too long to be kept whole', async () => {
    const { board, duplicatesOf } = open();
    const jobId = 'x'.repeat(2000);
    await duplicate({ jobId });

    const [found, other] = [await duplicatesOf(jobId), await duplicatesOf(`${jobId}y`)];
    board.close();

    expect([found.length, other.length]).to.deep.equal([1, 0]);
  });

  it('are not told to a page under a foreign host', async () => {
    const { board } = open();
    const request = new Request('http://evil.example.com/api/duplicates/1');

    const { status } = await board.fetch(request);
    board.close();

    expect(status).to.equal(403);
  });
});
