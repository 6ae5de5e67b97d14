import { expect } from 'chai';
import { type Arguments, readArguments } from '../../../src/cli/arguments.ts';
import { forceRelease } from '../../../src/cli/commands/force-release.ts';
import { leaveStep } from '../../../src/conformance/lines.ts';
import { Lock, type LockHandle, locksOf } from '../../../src/index.ts';
import { redisUrl, uniqueName, until } from '../../support/index.ts';
import { cli, OwnScope, parseLines } from '../run-cli.ts';

interface Asked {
  readonly code: number;
  readonly out: string;
  readonly question: string;
}

describe('bullmq-once force-release', () => {
  let own: OwnScope;
  beforeEach(() => {
    own = new OwnScope();
  });
  afterEach(() => own.close());

  it("releases nothing where it can't ask (no terminal)", async () => {
    const handle = await own.hold('k', { ttl: 3000 });

    const { code, err } = await cli('force-release', 'k', ...own.args);

    expect(code).to.equal(2);
    expect(err).to.match(/nobody can answer here; give --yes/);
    expect(handle.held).to.equal(true);
    await handle.release();
  });

  it('releases locks, and says which keys are not held (--yes)', async () => {
    const handle = await own.hold('k', { ttl: 3000 });

    const { code, out } = await cli('force-release', 'k', 'other', ...own.args, '--yes');
    await until(() => handle.signal.aborted);

    expect(out).to.equal("'other' is not held\n'k' was released\n");
    expect(code).to.equal(1);
    expect(handle.signal.reason).to.include({ reason: 'revoked' });
  });

  it('refuses a key that is held more than once', async () => {
    const { cache, scope } = own;
    const key = uniqueName('k');
    const first = await own.hold(key);
    const second = await new Lock(key, { cache, scope: `${scope}-2` }).acquire();
    const everywhere = ['--redis', redisUrl()];

    const ambiguous = await cli('force-release', key, ...everywhere, '--yes');
    await first.release();
    const unambiguous = await cli('force-release', key, ...everywhere, '--yes');
    await second.release();

    expect(ambiguous).to.include({ code: 2 });
    expect(ambiguous.err).to.match(/held more than once; say which with --queue or --scope/);
    expect(unambiguous).to.include({ code: 0, out: `'${key}' was released\n` });
  });

  describe('after it has shown the holder', () => {
    /** Runs the command on one key. The test answers its question, after what happens meanwhile. */
    async function run(meanwhile: () => Promise<unknown>, answer = 'y', key = 'k'): Promise<Asked> {
      const given = readArguments(['force-release', key, ...own.args], {}) as Arguments;
      const locks = locksOf(own.cache, { scope: own.scope });
      let out = '';
      let question = '';
      const code = await forceRelease(given, locks, {
        write: text => {
          out += text;
        },
        written: async () => {},
        async ask(text) {
          question = text;
          await meanwhile();
          return answer;
        },
        isScreen: false,
        stopped: new AbortController().signal,
      });
      return { code, out, question };
    }

    it('releases the acquisition that it has shown, once that is confirmed', async () => {
      const handle = await own.hold('k', { owner: 'bull:emails:17@1790000000000' });

      const refused = await run(async () => {}, 'n');
      const isHeld = (await locksOf(own.cache, { scope: own.scope }).get('k')) !== undefined;
      const confirmed = await run(async () => {});

      expect(refused).to.include({ code: 1, out: '' });
      expect(refused.question).to.match(/\nk .* job 17 of emails .*\nForce release this lock\? \[y\/N\] $/);
      expect(isHeld).to.equal(true);
      expect(confirmed).to.include({ code: 0, out: "'k' was released\n" });
      expect(await handle.release()).to.equal(false);
    });

    it('leaves alone another acquisition that holds the key by then', async () => {
      const first = await own.hold('k', { owner: 'bull:emails:17@1790000000000' });
      let second: LockHandle | undefined;

      const { code, out } = await run(async () => {
        await first.release();
        second = await own.hold('k', { owner: 'bull:emails:18@1790000000000' });
      });

      expect(out).to.equal("'k' was not released: it is now held by job 18 of emails\n");
      expect(code).to.equal(1);
      expect(await second?.release()).to.equal(true);
    });

    it('says so where nobody holds the key any more, or a value does that no lock wrote', async () => {
      const first = await own.hold('k');
      const free = await run(() => first.release());
      const holder = await own.enter('k', 'bull:emails:17@1790000000000');
      const next = await own.enter('k', 'bull:emails:18@1790000000000');
      const parked = await run(() => own.cache.leave([leaveStep(holder)]));
      await own.cache.strikeOut([next]);
      const second = await own.hold('k');
      const foreign = await run(async () => {
        await second.release();
        await own.redis.set(`once::1:${own.scope}:k`, 'a value', 'EX', 60);
      });

      for (const ended of [free, parked]) {
        expect(ended).to.include({ code: 1, out: "'k' was not released: it is no longer held\n" });
      }
      expect(foreign).to.include({
        code: 1,
        out: "'k' was not released: it is a value that no lock wrote\n",
      });
    });
  });

  it('takes a key of more than 256 characters, in any scope', async () => {
    const key = uniqueName('k').repeat(10);
    await own.hold(key);

    const shown = await cli('show', key, '--redis', redisUrl(), '--json');
    const released = await cli('force-release', key, '--redis', redisUrl(), '--yes');

    expect(parseLines(shown.out)).to.have.length(1);
    expect(released.code).to.equal(0);
  });

  it('takes a key that is given twice once', async () => {
    await own.hold('k');

    const ended = await cli('force-release', 'k', 'k', ...own.args, '--yes');

    expect(ended).to.include({ code: 0, out: "'k' was released\n" });
  });

  it('releases each holder of a key with several places, and names it', async () => {
    for (const id of [17, 18]) await own.enter('k', `bull:emails:${id}@1790000000000`, { places: 2 });

    const { code, out } = await cli('force-release', 'k', ...own.args, '--yes');

    expect(code).to.equal(0);
    expect(out.trim().split('\n')).to.have.members([
      "'k' of job 17 of emails was released",
      "'k' of job 18 of emails was released",
    ]);
    expect((await cli('list', ...own.args)).out).to.equal('no locks are held\n');
  });

  it('ends with 1 where the key is free, though jobs are parked for it', async () => {
    const holder = await own.enter('k', 'bull:emails:17@1790000000000');
    await own.enter('k', 'bull:emails:18@1790000000000');
    await own.cache.leave([leaveStep(holder)]);

    const ended = await cli('force-release', 'k', ...own.args, '--yes');

    expect(ended).to.include({ code: 1, out: "'k' is not held: 1 parked, next: job 18 of emails\n" });
  });

  it('ends with 1 where the key is not held', async () => {
    const ended = await cli('force-release', 'k', ...own.args, '--yes');

    expect(ended).to.include({ code: 1, out: "'k' is not held\n" });
  });
});
