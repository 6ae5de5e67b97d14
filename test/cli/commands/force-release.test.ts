import { expect } from 'chai';
import { Lock } from '../../../src/index.ts';
import { redisUrl, uniqueName, until } from '../../support/index.ts';
import { cli, OwnScope } from '../run-cli.ts';

describe('bullmq-once force-release', () => {
  let own: OwnScope;
  beforeEach(() => {
    own = new OwnScope();
  });
  afterEach(() => own.close());

  it("releases nothing where it can't ask (no terminal)", async () => {
    const handle = await own.hold('k', { ttl: 120 });

    const { code, err } = await cli('force-release', 'k', ...own.args);

    expect(code).to.equal(2);
    expect(err).to.match(/nobody can answer here; give --yes/);
    expect(handle.held).to.equal(true);
    await handle.release();
  });

  it('releases locks, and says which keys are not held (--yes)', async () => {
    const handle = await own.hold('k', { ttl: 120 });

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

  it('ends with 1 where the key is not held', async () => {
    const ended = await cli('force-release', 'k', ...own.args, '--yes');

    expect(ended).to.include({ code: 1, out: "'k' is not held\n" });
  });
});
