import { expect } from 'chai';
import { acquire, acquireStep, reserve } from '../../../src/conformance/helpers.ts';
import { scopedName } from '../../../src/key/stored-name.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';
import { cli, OwnScope, parseLines } from '../run-cli.ts';

describe('bullmq-once list', () => {
  let own: OwnScope;
  beforeEach(() => {
    own = new OwnScope();
  });
  afterEach(() => own.close());

  it('prints a table of the locks that are held', async () => {
    const handles = [await own.hold('b'), await own.hold('a')];

    const { code, out } = await cli('list', ...own.args);
    for (const handle of handles) await handle.release();

    const lines = out.split('\n').map(line => line.split(/ {2,}/));
    expect(code).to.equal(0);
    expect(lines[0]).to.deep.equal(['KEY', 'QUEUE OR SCOPE', 'STATE', 'HOLDER', 'HELD FOR', 'EXPIRES IN']);
    expect(lines[1]?.slice(0, 4)).to.deep.equal(['a', `scope ${own.scope}`, 'running', 'owner of a']);
    expect(lines[1]?.[5]).to.match(/^(29|30|2\d) s$/);
    expect(lines[2]?.slice(0, 4)).to.deep.equal(['b', `scope ${own.scope}`, 'running', 'owner of b']);
  });

  it('prints a line of JSON for each lock (--json)', async () => {
    const handles = [await own.hold('b'), await own.hold('a')];

    const json = parseLines((await cli('list', ...own.args, '--json')).out);
    const some = parseLines((await cli('list', ...own.args, '--json', '--starts-with', 'b')).out);
    for (const handle of handles) await handle.release();

    const { scope } = own;
    expect(json.map(({ key }) => key)).to.deep.equal(['a', 'b']);
    expect(json[0]).to.include({ scope, state: 'running', owner: 'owner of a', fence: handles[1]?.fence });
    expect(some.map(({ key }) => key)).to.deep.equal(['b']);
  });

  it('shows how many hold a key, how many are parked for it, and who is next', async () => {
    const handle = await own.hold('alone');
    for (const id of [17, 18, 19, 20]) await own.enter('k', `bull:emails:${id}@1790000000000`, { places: 2 });

    const { out } = await cli('list', ...own.args);
    const json = parseLines((await cli('list', ...own.args, '--json')).out);
    await handle.release();

    const lines = out.split('\n').map(line => line.split(/ {2,}/));
    expect(lines[0]?.[6]).to.equal('LINE');
    expect(lines[1]?.slice(0, 1)).to.deep.equal(['alone']);
    expect(lines[1]).to.have.length(6);
    expect(lines[2]?.[6]).to.equal('2 hold it, 2 parked, next: job 19 of emails');
    expect(lines[3]?.[6]).to.equal(lines[2]?.[6]);
    expect(json.map(({ jobId }) => jobId)).to.have.members([undefined, '17', '18']);
    expect(json[0]).not.to.have.property('line');
    expect(json[1].line).to.deep.equal({
      held: 2,
      parked: 2,
      next: { owner: 'bull:emails:19@1790000000000', jobId: '19', queueName: 'emails' },
    });
  });

  it('prints all locks, also where there are more than it keeps in memory', async () => {
    const count = 10_050;
    const numbers = Array.from({ length: count }, (_, i) => i);
    for (let first = 0; first < count; first += 500) {
      const some = numbers.slice(first, first + 500);
      await own.cache.acquire(some.map(i => acquireStep({ storedKey: scopedName(own.scope, `k${i}`) })));
    }

    const json = parseLines((await cli('list', ...own.args, '--json')).out);
    await own.cache.forceRelease(json.map(({ storedKey }) => ({ storedKey })));

    const keys = json.map(({ key }) => key);
    expect(new Set(keys).size).to.equal(count);
    expect(keys.slice(0, 10_000)).to.deep.equal(keys.slice(0, 10_000).sort());
  });

  it('names the job that holds a lock in a scope', async () => {
    const handle = await own.hold('k', { owner: 'bull:emails:17@1790000000000' });

    const { out } = await cli('list', ...own.args);
    await handle.release();

    const row = out.split('\n')[1]?.split(/ {2,}/);
    expect(row?.slice(0, 4)).to.deep.equal(['k', `scope ${own.scope}`, 'running', 'job 17 of emails']);
  });

  it('says when the next run of a job is due, of a key that is reserved for it (--state reserved)', async () => {
    const step = acquireStep({
      storedKey: scopedName(own.scope, 'k'),
      owner: 'bull:emails:17@1790000000000',
    });
    await acquire(own.cache, step);
    await reserve(own.cache, step, { dueIn: 50_000, lastsFor: 600_000 });

    const { out } = await cli('list', ...own.args, '--state', 'reserved');

    const row = out.split('\n')[1]?.split(/ {2,}/);
    expect(row?.[2]).to.equal('reserved');
    expect(row?.[5]).to.match(/^next run in \d\d s$/);
  });

  it('ends with 1 where there is no such schema: the locks of a misspelt one would be none', async () => {
    const { url } = await sharedPostgres();

    const { code, err } = await cli('list', '--postgres', url, '--schema', 'bulmq');

    expect(code).to.equal(1);
    expect(err).to.include("there is no schema 'bulmq' in this database");
  });

  it('says so where no lock is held', async () => {
    expect(await cli('list', ...own.args)).to.include({ code: 0, out: 'no locks are held\n' });
  });

  it('never prints what a terminal would obey', async () => {
    const handle = await own.hold('\u001b[2J\u202ek\n');

    const { out } = await cli('list', ...own.args);
    await handle.release();

    expect(out).to.include('\\u001b[2J\\u202ek\\n');
    for (const obeyed of ['\u001b', '\u202e']) expect(out).not.to.include(obeyed);
  });
});
