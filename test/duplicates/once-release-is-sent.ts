/** Acts while the answer that says who is next is under way. */

import sinon from 'sinon';
import { RedisCache } from '../../src/index.ts';

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
