/** Calls of `once` and of a `Lock` in a process that has workers too: for the same keys as the jobs of its scope. */

import { getOrCreate } from '../../src/core/get-or-create.ts';
import type { LockEvent } from '../../src/events/events.ts';
import type { Lock } from '../../src/lock/lock.ts';
import type { LockHandle } from '../../src/lock/lock-handle.ts';
import type { Call, Work } from './facts.ts';
import type { CallPlan } from './plan.ts';
import { noteAbort, workOf } from './runs.ts';
import type { Place, World } from './world.ts';

/** The work looks at its lock so often. */
const PARTS = 2;
/** By owner and key. */
const locksOfOwners = new WeakMap<Place, Map<string, Lock>>();

/** Makes a call, and lets the checks know how it ends. */
export async function makeCall(world: World, place: Place, plan: CallPlan): Promise<void> {
  const { observer, scheduler, facts } = world;
  const call: Call = {
    name: `call ${facts.calls.length}`,
    storedKey: world.storedKeyOf(plan.key, 0),
    process: place.process,
    plan,
    calledAt: scheduler.now,
    endedAt: undefined,
    owner: undefined,
    outcome: undefined,
  };
  observer.onCalled(call);
  try {
    const value = await new Caller(world, place, call).make();
    observer.onCallEnded(call, { value });
  } catch (error) {
    observer.onCallEnded(call, { error });
  }
}

class Caller {
  readonly #world: World;
  readonly #place: Place;
  readonly #call: Call;

  constructor(world: World, place: Place, call: Call) {
    this.#world = world;
    this.#place = place;
    this.#call = call;
  }

  async make(): Promise<unknown> {
    const { how, waitFor } = this.#call.plan;
    if (how === 'once') return this.#callOnce();
    const lock = this.#lock();
    if (how === 'run') return lock.run(handle => this.#work(handle), { waitFor });
    const handle = how === 'acquire' ? await lock.acquire({ waitFor }) : await lock.tryAcquire();
    if (!handle) return undefined;
    return this.#workAndRelease(handle);
  }

  /** Whoever names an owner has one `Lock` of it. */
  #lock(): Lock {
    const { how, key, owner } = this.#call.plan;
    const make = (): Lock => {
      const options = {
        ...this.#options({ maySucceed: how === 'run' }),
        ...(owner !== undefined && { owner }),
      };
      return new this.#place.guard.Lock(key, options as never);
    };
    if (owner === undefined) return make();
    const locks = getOrCreate(locksOfOwners, this.#place, () => new Map<string, Lock>());
    return getOrCreate(locks, `${owner} ${key}`, make);
  }

  /** A function has no handle of its lock. */
  #callOnce(): Promise<unknown> {
    const { key, waitFor, raises, shares } = this.#call.plan;
    const guarded = this.#place.guard.once(async (_call: { key: string }) => this.#end(), {
      ...this.#options({ maySucceed: true }),
      key: '{key}',
      ...(shares ? { whenLocked: 'share' } : waitFor > 0 && { whenLocked: { waitFor } }),
      ...(raises && !shares && { raiseIfLock: true }),
    } as never);
    return (guarded as (call: { key: string }) => Promise<unknown>)({ key });
  }

  /** @param maySucceed - whoever makes the call learns whether its work does. */
  #options({ maySucceed }: { readonly maySucceed: boolean }): object {
    const { cache, version } = this.#place;
    const { scope, ttl, maxHold, concurrency, dedupeFor } = version.options;
    return {
      cache,
      ...(scope !== undefined && { scope }),
      ...(ttl !== undefined && { ttl }),
      ...(maxHold !== undefined && { maxHold }),
      ...(concurrency !== undefined && { concurrency }),
      ...(dedupeFor !== undefined && maySucceed && { dedupeFor }),
      onEvent: (event: LockEvent) => {
        // One of a named owner may be of any of its calls.
        if (event.type === 'acquired' && this.#call.plan.owner === undefined)
          this.#world.facts.noteOwner(this.#call, event.owner);
      },
    };
  }

  async #workAndRelease(handle: LockHandle): Promise<unknown> {
    const work = this.#begin(handle);
    try {
      return await this.#finish(work);
    } finally {
      work.hasReleased = true;
      this.#world.observer.onHandleReleased(work, await handle.release());
    }
  }

  #work(handle: LockHandle): Promise<unknown> {
    return this.#finish(this.#begin(handle));
  }

  async #finish(work: Work): Promise<unknown> {
    try {
      await this.#look(work);
      return await this.#end();
    } finally {
      this.#world.facts.activeWork.delete(work);
    }
  }

  #begin(lock: LockHandle): Work {
    const { plan } = this.#call;
    if (plan.owner !== undefined) this.#world.facts.noteOwner(this.#call, plan.owner);
    const { name, owner = '', storedKey, process } = this.#call;
    const work: Work = {
      ...workOf(this.#world, { name, owner, storedKey }, lock),
      process,
      signal: lock.signal,
    };
    noteAbort(this.#world, work);
    this.#world.observer.onStarted(work);
    return work;
  }

  async #look(work: Work): Promise<void> {
    const { process, plan } = this.#call;
    this.#world.observer.onLook(work);
    for (let part = 0; part < PARTS; part++) {
      await process.sleep(plan.ms / PARTS);
      this.#world.observer.onLook(work);
    }
  }

  async #end(): Promise<unknown> {
    const { plan, name, process } = this.#call;
    if (plan.how === 'once') await process.sleep(plan.ms);
    if (plan.fails) {
      const error = new Error('asked to fail');
      this.#call.outcome = { error };
      throw error;
    }
    const value = { done: name };
    this.#call.outcome = { value };
    return value;
  }
}
