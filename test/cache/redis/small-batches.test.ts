/** Batches of a few steps on Redis: each step is answered as if it were alone, whichever of the script's ways does it. */

import { expect } from 'chai';
import type { Redis } from 'ioredis';
import type { AcquireStep } from '../../../src/cache/contract.ts';
import { RedisCache } from '../../../src/cache/redis/redis-cache.ts';
import { connectRedis, uniqueName, until } from '../../support/index.ts';
import { acquire, acquireStep, enterStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('A small batch on Redis', () => {
  let redis: Redis;
  let cache: RedisCache;
  beforeEach(() => {
    redis = connectRedis();
    cache = new RedisCache(redis);
  });
  afterEach(() => redis.disconnect());

  /** A later run of the owner of a step. */
  const nextRun = ({ storedKey, owner, attempt }: AcquireStep, more: Partial<AcquireStep> = {}) =>
    acquireStep({ storedKey, owner, attempt: attempt + 1, ...more });
  const rival = ({ storedKey }: AcquireStep, more: Partial<AcquireStep> = {}) =>
    acquireStep({ storedKey, ...more });
  const stateOf = async ({ storedKey }: AcquireStep) =>
    JSON.parse((await redis.get(storedKey)) ?? '{}').state;

  it('does the plain steps before a step that is not, that step, and those after it', async () => {
    const [first, own, foreign, last] = [
      acquireStep(),
      acquireStep({ attempt: 1 }),
      acquireStep(),
      acquireStep(),
    ];
    await acquire(cache, own);
    await redis.lpush(foreign.storedKey, 'a list');

    const answers = await cache.acquire([first, rival(first), nextRun(own), foreign, last, rival(last)]);

    expect(answers.map(answer => 'acquired' in answer && answer.acquired)).to.deep.equal([
      true,
      false,
      true,
      false,
      true,
      false,
    ]);
    expect(answers[2]).to.include({ reclaimed: true });
    expect(answers[3]).to.have.nested.property('record.state', 'foreign');
  });

  it('gives a key that it releases to the next, with a higher fence', async () => {
    const step = acquireStep();
    const before = await acquire(cache, step);

    const { released, acquired } = await cache.exchange({
      releases: [releaseStep(step), releaseStep(step)],
      renewals: [renewStep(step)],
      acquisitions: [rival(step), rival(step)],
    });

    expect(released).to.deep.equal([true, false]);
    const [next, refused] = acquired as [typeof before, typeof before];
    expect(next.acquired && before.acquired && next.fence > before.fence).to.equal(true);
    expect(refused).to.deep.include({ acquired: false });
  });

  it('keeps a key as done, and then frees it for nobody', async () => {
    const step = acquireStep();
    await acquire(cache, step);

    const { released, renewed, acquired } = await cache.exchange({
      releases: [releaseStep(step, 60_000)],
      renewals: [renewStep(step)],
      acquisitions: [rival(step), nextRun(step)],
    });

    expect([released, renewed]).to.deep.equal([[true], [false]]);
    for (const answer of acquired) expect(answer).to.have.nested.property('record.state', 'done');
  });

  for (const [how, again] of [
    ['is reclaimed', (step: AcquireStep) => nextRun(step)],
    ['is acquired by the same step once more', (step: AcquireStep) => step],
  ] as const) {
    it(`keeps the mark of one that waits where the lease ${how} in the same batch`, async () => {
      const step = acquireStep({ attempt: 1 });
      await acquire(cache, step);

      const [, granted] = await cache.acquire([rival(step, { notify: true }), again(step)]);

      expect(granted).to.include({ acquired: true });
      expect(await stateOf(step)).to.equal('awaited');
    });
  }

  it('does not bring back a lease of several places that is reclaimed in the same batch (one waits for it)', async () => {
    const storedKey = `once::1:${uniqueName()}:k`;
    const [one, other] = [1, 1].map(attempt => enterStep({ storedKey, attempt, places: 2 })) as never as [
      AcquireStep,
      AcquireStep,
    ];
    await cache.enter([one, other] as never);
    const newer = nextRun(one, { notify: true });

    const [refused, reclaimed] = await cache.acquire([rival(one, { notify: true }), newer]);
    const renewed = await cache.renew([renewStep(one), renewStep(newer), renewStep(other)]);

    expect([refused, reclaimed].map(answer => (answer as { acquired: boolean }).acquired)).to.deep.equal([
      false,
      true,
    ]);
    expect(renewed).to.deep.equal([false, true, true]);
    expect(await redis.hlen(storedKey)).to.equal(2);
  });

  it('gives the places of a key that are reclaimed at once fences of their own, above all before', async () => {
    const storedKey = `once::1:${uniqueName()}:k`;
    const steps = [1, 1].map(attempt =>
      enterStep({ storedKey, attempt, places: 2 }),
    ) as never as AcquireStep[];
    const before = await cache.enter(steps as never);

    const after = await cache.acquire(steps.map(step => nextRun(step)));

    const fences = [...before, ...after].map(answer => (answer as { fence: number }).fence);
    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b));
    expect(new Set(fences).size).to.equal(4);
  });

  it('gives an error in the place of a step that Redis refuses, and does the others (an ACL without PEXPIRE)', async () => {
    const user = uniqueName('user').replaceAll('-', '');
    await redis.acl('SETUSER', user, 'on', 'nopass', '~*', '&*', '+@all', '-pexpire');
    const limited = connectRedis({ username: user, password: 'any' });
    const [freed, renewed, free] = [acquireStep(), acquireStep(), acquireStep()];
    await cache.acquire([freed, renewed]);

    const answers = await new RedisCache(limited).exchange({
      releases: [releaseStep(freed)],
      renewals: [renewStep(renewed)],
      acquisitions: [free],
    });
    limited.disconnect();
    await redis.acl('DELUSER', user);

    expect(answers.released).to.deep.equal([true]);
    expect(answers.renewed[0]).to.be.an.instanceOf(Error);
    expect(answers.acquired[0]).to.include({ acquired: true });
  });

  it('notifies a release, of a batch too, once', async () => {
    const [step, other] = [acquireStep(), acquireStep()];
    await cache.acquire([step, other]);
    let notified = 0;
    const listener = cache.listen(step.storedKey, () => notified++);
    await until(() => listener.isListening);
    const before = notified;
    await acquire(cache, rival(step, { notify: true }));

    await cache.release([releaseStep(step), releaseStep(other)]);
    await until(() => notified > before);
    listener.stop();

    expect(notified).to.equal(before + 1);
  });
});
