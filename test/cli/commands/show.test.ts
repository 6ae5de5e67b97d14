import { expect } from 'chai';
import { leaveStep } from '../../../src/conformance/lines.ts';
import { Lock, once } from '../../../src/index.ts';
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

  it('prints each holder of a key with several places, and who is next', async () => {
    for (const id of [17, 18, 19]) await own.enter('k', `bull:emails:${id}@1790000000000`, { places: 2 });
    const another = await own.hold('k-2');

    const { code, out } = await cli('show', 'k', ...own.args);
    await another.release();

    expect(code).to.equal(0);
    expect(out.match(/^holder .*$/gm)).to.have.members([
      'holder      job 17 of emails',
      'holder      job 18 of emails',
    ]);
    expect(out.match(/^places {6}2 taken\nparked {6}1\nnext {8}job 19 of emails\n/gm)).to.have.length(2);
  });

  it('prints the line of a key that is free', async () => {
    const holder = await own.enter('k', 'bull:emails:17@1790000000000');
    await own.enter('k', 'bull:emails:18@1790000000000');
    await own.cache.leave([leaveStep(holder)]);

    const { code, out } = await cli('show', 'k', ...own.args);
    const [json] = parseLines((await cli('show', 'k', ...own.args, '--json')).out);

    expect(code).to.equal(0);
    expect(out).to.equal(
      `key         k\nscope       ${own.scope}\nstate       parked\nparked      1\nnext        job 18 of emails\n` +
        `stored key  once::1:${own.scope}:k\n`,
    );
    expect(json).to.include({ state: 'parked', jobId: '18' });
  });

  it('says that a result is kept and how large it is, and not what it is', async () => {
    const { cache, scope } = own;
    for (const [key, secret] of [
      ['short', 'hunter2'],
      ['long', 'hunter2'.repeat(200)],
    ] as const) {
      await once(() => secret, { key, cache, scope, dedupeFor: 60_000 })();
    }

    const short = await cli('show', 'short', ...own.args);
    const long = await cli('show', 'long', ...own.args);
    const json = await cli('show', 'long', ...own.args, '--json');

    expect(short.out)
      .to.match(/^state {7}done\n/m)
      .and.match(/^result {6}9 bytes kept\n/m);
    expect(long.out).to.match(/^result {6}1\.4 kB kept\n/m);
    expect(parseLines(json.out)[0]).to.include({ state: 'done', resultBytes: 1402 });
    expect(short.out + long.out + json.out).to.not.include('hunter2');
  });

  it('ends with 1 where the key is not held', async () => {
    expect(await cli('show', 'k', ...own.args)).to.include({ code: 1, out: "'k' is not held\n" });
  });
});
