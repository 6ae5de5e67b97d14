import { expect } from 'chai';
import { Lock } from '../../../src/index.ts';
import { Bench } from '../../support/bullmq.ts';
import { redisUrl, uniqueName } from '../../support/index.ts';
import { cli, OwnScope, parseLines } from '../run-cli.ts';

describe('bullmq-once show', () => {
  let own: OwnScope;
  beforeEach(() => {
    own = new OwnScope();
  });
  afterEach(() => own.close());

  it('prints what is known of the lock of a key in a queue, with its job', async () => {
    const bench = await Bench.open();
    const { job, finish } = await bench.hold();

    const inQueue = ['--redis', redisUrl(), '--queue', bench.queueName];
    const shown = await cli('show', 'k', ...inQueue);
    const listed = parseLines((await cli('list', ...inQueue, '--json')).out);
    await finish();
    await bench.close();

    expect(shown.code).to.equal(0);
    expect(shown.out).to.match(
      /^key {9}k\nqueue {7}bull:queue-.*\nstate {7}running\nholder {6}job 1 of queue-/,
    );
    expect(shown.out).to.match(/\nstored key {2}bull::once:1:queue-.*:k\n$/);
    expect(listed).to.have.length(1);
    expect(listed[0]).to.include({ jobId: job.id, queueName: bench.queueName, key: 'k' });
  });

  it('names the job that holds a lock in a scope', async () => {
    const handle = await own.hold('k', { owner: 'bull:emails:17@1790000000000' });

    const { out } = await cli('show', 'k', ...own.args);
    await handle.release();

    expect(out).to.match(/^scope {7}scope-.*\nstate {7}running\nholder {6}job 17 of emails\n/m);
  });

  it('finds a key in every queue and scope (neither --queue nor --scope)', async () => {
    const { cache, scope } = own;
    const key = uniqueName('k');
    const handles = [await own.hold(key), await new Lock(key, { cache, scope: `${scope}-2` }).acquire()];

    const { out } = await cli('show', key, '--redis', redisUrl(), '--json');
    for (const handle of handles) await handle.release();

    expect(parseLines(out).map(lock => lock.scope)).to.deep.equal([scope, `${scope}-2`]);
  });

  it('ends with 1 where the key is not held', async () => {
    expect(await cli('show', 'k', ...own.args)).to.include({ code: 1, out: "'k' is not held\n" });
  });
});
