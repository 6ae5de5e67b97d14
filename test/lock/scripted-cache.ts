/** A cache whose answers a test chooses, and which records what it was asked. */

import sinon from 'sinon';
import type {
  AcquireResult,
  AcquireStep,
  LockCache,
  LockRecord,
  ReleaseStep,
  RenewStep,
} from '../../src/cache/contract.ts';
import { LeaseRenewer } from '../../src/lock/lease-renewer.ts';
import type { Deferred } from '../support/index.ts';

export class ScriptedCache implements LockCache {
  /** The verb and the size of each batch, in order. */
  readonly batches: [string, number][] = [];
  readonly renewals: RenewStep[] = [];
  readonly releases: ReleaseStep[] = [];
  acquireAnswer: AcquireResult | Error = { acquired: true, fence: 1, reclaimed: false };
  renewAnswer: boolean | Error = true;
  releaseAnswer: boolean | Error = true;
  /** Who holds the key by now. */
  record: LockRecord | undefined;
  /** No answer comes before it is resolved. */
  stuck: Deferred | undefined;

  async acquire(steps: readonly AcquireStep[]): Promise<(AcquireResult | Error)[]> {
    this.batches.push(['acquire', steps.length]);
    await this.stuck?.promise;
    return steps.map(() => this.acquireAnswer);
  }

  async renew(steps: readonly RenewStep[]): Promise<(boolean | Error)[]> {
    this.batches.push(['renew', steps.length]);
    this.renewals.push(...steps);
    await this.stuck?.promise;
    return steps.map(() => this.renewAnswer);
  }

  async release(steps: readonly ReleaseStep[]): Promise<(boolean | Error)[]> {
    this.batches.push(['release', steps.length]);
    this.releases.push(...steps);
    await this.stuck?.promise;
    return steps.map(() => this.releaseAnswer);
  }

  async inspect(): Promise<(LockRecord | undefined)[]> {
    return [this.record];
  }
}

/** A renewer whose cache a test scripts, on a clock that the test moves. It stands at 1000. */
export function renewerOnFakeClock(): {
  clock: sinon.SinonFakeTimers;
  cache: ScriptedCache;
  renewer: LeaseRenewer;
} {
  const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  clock.tick(1000);
  const cache = new ScriptedCache();
  return { clock, cache, renewer: new LeaseRenewer(cache) };
}
