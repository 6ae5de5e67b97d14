/** Workers that close while the answer that says who is next is under way. */

import { setTimeout as delay } from 'node:timers/promises';
import sinon from 'sinon';
import { RedisCache } from '../../src/index.ts';

/** The answer that says who is next comes when the worker has closed. @returns what ends that. */
export function answerReleasesLate(): () => void {
  const { leave } = RedisCache.prototype;
  const leaving = sinon.stub(RedisCache.prototype, 'leave').callsFake(async function (
    this: RedisCache,
    steps,
  ) {
    const answers = await leave.call(this, steps);
    await delay(500);
    return answers;
  });
  return () => leaving.restore();
}

/** Calls a function when a release is on its way and its job's completion behind it, once. @returns what ends that. */
export function onceReleaseIsSent(act: () => void): () => void {
  const { leave } = RedisCache.prototype;
  const leaving = sinon.stub(RedisCache.prototype, 'leave').callsFake(function (this: RedisCache, steps) {
    leaving.restore();
    setImmediate(act);
    return leave.call(this, steps);
  });
  return () => leaving.restore();
}
