/** Guarantee 5 on the first line that runs: a signal looks at the clock when it is asked, as no timer runs while the process stands still. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { expect } from 'chai';
import {
  Lock,
  type LockEvent,
  type LockHandle,
  LockLostError,
  MemoryCache,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { clockedController } from '../../src/lock/clocked-signal.ts';
import { plainJob } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';
import { connectRedis, deferred, redisOptions, rejection, uniqueName, until } from '../support/index.ts';

const TTL = 300;
const BLOCKED_MS = 900;
/** Processes that spin beside others on a busy machine need longer leases. */
const SUSPENDED_TTL = 1500;

/** Blocks the event loop: no timer, no answer, no promise callback runs. */
function block(ms: number = BLOCKED_MS): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

async function hold(onEvent: (event: LockEvent) => void = () => {}): Promise<LockHandle> {
  return new Lock(uniqueName('k'), { cache: new MemoryCache(), ttl: TTL, onEvent }).acquire();
}

describe('The first line after the event loop was blocked for longer than the ttl', () => {
  const looks: Readonly<Record<string, (handle: LockHandle) => unknown>> = {
    'signal.aborted': ({ signal }) => signal.aborted,
    'signal.reason': ({ signal }) => signal.reason instanceof LockLostError,
    'signal.throwIfAborted()': ({ signal }) => throws(() => signal.throwIfAborted()),
    'not held': ({ held }) => !held,
    'throwIfLost()': handle => throws(() => handle.throwIfLost()),
  };
  const names = Object.keys(looks);
  /** A lock for each way to look, so that none has been looked at before. */
  const holdForEach = () => Promise.all(names.map(() => hold()));
  const lookAtEach = (handles: readonly LockHandle[]) =>
    Object.fromEntries(names.map((name, i) => [name, looks[name]?.(handles[i] as LockHandle)]));
  const all = (seen: boolean) => Object.fromEntries(names.map(name => [name, seen]));

  it(`sees the truth (${names.join(', ')})`, async () => {
    const handles = await holdForEach();
    const before = lookAtEach(handles);

    block();

    expect(lookAtEach(handles)).to.deep.equal(all(true));
    expect(before).to.deep.equal(all(false));
  });

  it('sees the truth, if the signal is asked for only then', async () => {
    const handles = await holdForEach();

    block();

    expect(lookAtEach(handles)).to.deep.equal(all(true));
  });

  it('sees the truth after awaits that are resolved already', async () => {
    const handles = await holdForEach();
    for (const { signal } of handles) void signal;

    block();
    await Promise.resolve();
    await null;

    expect(lookAtEach(handles)).to.deep.equal(all(true));
  });

  it('sees the truth in fifty locks, and no step of any gets through', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const handles = await Promise.all(
      Array.from({ length: 50 }, () => new Lock(uniqueName('k'), { cache, ttl: TTL }).acquire()),
    );

    block();
    const through = handles.filter(({ signal }) => !throws(() => signal.throwIfAborted()));

    expect(through).to.deep.equal([]);
    redis.disconnect();
  });

  it('sees the truth in a job, by its signal and its lock', async () => {
    const seen: unknown[] = [];
    const guarded = onceProcessor(
      async (_job: Job, _token, signal, lock) => {
        block();
        seen.push(
          signal?.aborted,
          lock.held,
          throws(() => signal?.throwIfAborted()),
          throws(() => lock.throwIfLost()),
        );
      },
      { key: 'k', cache: new MemoryCache(), ttl: TTL },
    );

    await guarded(plainJob('1', { attemptsStarted: 1 }));

    expect(seen).to.deep.equal([true, false, true, true]);
  });

  it("has emitted 'lost' once, however often it is asked, and aborts once", async () => {
    const events: LockEvent[] = [];
    let handle: LockHandle | undefined;
    handle = await hold(event => {
      events.push(event);
      // A listener that asks again while the loss is emitted.
      void handle?.signal.aborted;
    });
    let aborts = 0;
    handle.signal.addEventListener('abort', () => aborts++);

    block();
    for (let i = 0; i < 3; i++)
      void [handle.signal.aborted, handle.held, throws(() => handle?.throwIfLost())];
    await delay(50);

    expect(events.filter(({ type }) => type === 'lost')).to.have.length(1);
    expect(aborts).to.equal(1);
  });

  it('sees that the lock is held if the block was shorter than the lease', async () => {
    const handle = await hold();

    block(TTL / 3);

    expect([handle.signal.aborted, handle.held]).to.deep.equal([false, true]);
    expect(() => handle.signal.throwIfAborted()).not.to.throw();
    await handle.release();
  });

  it('sees nothing lost in a lock that was released before', async () => {
    const handle = await hold();
    await handle.release();

    block();

    expect([handle.signal.aborted, handle.held]).to.deep.equal([false, false]);
    expect(() => handle.throwIfLost()).not.to.throw();
  });

  it('sees no loss where the work runs without a lock', async () => {
    const seen: unknown[] = [];
    const guarded = onceProcessor(
      async (_job: Job, _token, signal, lock) => {
        block();
        seen.push(
          signal?.aborted,
          throws(() => lock.throwIfLost()),
        );
      },
      { key: 'k', mode: 'off', ttl: TTL },
    );

    await guarded(plainJob('1', { attemptsStarted: 1 }));

    expect(seen).to.deep.equal([false, false]);
  });

  it("does not take BullMQ's own reason from a job that was cancelled before", async () => {
    const controller = new AbortController();
    const gate = deferred();
    let seen: unknown;
    const guarded = onceProcessor(
      async (_job: Job, _token, signal) => {
        await gate.promise;
        block();
        seen = signal?.reason;
      },
      { key: 'k', cache: new MemoryCache(), ttl: TTL },
    );
    const running = guarded(plainJob('1', { attemptsStarted: 1 }), 'token', controller.signal);
    await delay(10);

    controller.abort('cancelled by BullMQ');
    gate.resolve();
    await running;

    expect(seen).to.equal('cancelled by BullMQ');
  });
});

describe('A process that was suspended for longer than its ttl', () => {
  it('does no step of its work after that, while another holds the key (four processes, stopped anywhere)', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const outcomes = await Promise.all(
      [1, 2, 3, 4].map(async number => {
        const key = uniqueName('k');
        const { port } = redisOptions();
        const child = new Child('frozen-holder.ts', { port, key, ttl: SUSPENDED_TTL, froze: SUSPENDED_TTL });
        await child.message('held');
        await delay(50 * number);
        child.signal('SIGSTOP');
        const next = await new Lock(key, { cache, ttl: 60_000 }).acquire({ waitFor: 30_000 });
        await delay(SUSPENDED_TTL);

        child.signal('SIGCONT');
        const { stepsAfter, reason, hasFrozen } = await child.message('stopped');
        const { held } = next;
        await next.release();
        await child.kill();
        return { hasFrozen, stepsAfter, reason, held };
      }),
    );

    for (const { reason, ...outcome } of outcomes) {
      expect(outcome).to.deep.equal({ hasFrozen: true, stepsAfter: 0, held: true });
      expect(reason).to.be.oneOf(['expired', 'unreachable']);
    }
    redis.disconnect();
  });
});

describe('The signal of a lock', () => {
  it('is an AbortSignal, and works in fetch: a request is cancelled when the lock is lost', async () => {
    const server = createServer(() => {}).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const handle = await hold();

    const request = fetch(url, { signal: handle.signal });
    await once(server, 'request');
    block();
    const error = await rejection(request);

    expect(handle.signal).to.be.instanceOf(AbortSignal);
    expect(error).to.include({ code: 'ERR_LOCK_LOST', reason: 'expired' });
    server.closeAllConnections();
    server.close();
  });

  const starts: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
    fetch: signal => fetch('http://127.0.0.1:1', { signal }),
    'setTimeout of node:timers/promises': signal => delay(10_000, undefined, { signal }),
    'once of node:events': signal => once(new EventTarget(), 'never', { signal }),
  };
  for (const [what, start] of Object.entries(starts)) {
    it(`is looked at by what is started with it after a block (${what})`, async () => {
      const handle = await hold();
      const { signal } = handle;

      block();
      const error = await rejection(start(signal));

      expect([error.name, (error.cause as Error | undefined)?.name]).to.include('LockLostError');
    });
  }

  it('aborts a timer that was started before', async () => {
    const handle = await hold();
    const waiting = rejection(delay(10_000, undefined, { signal: handle.signal }));

    block();

    expect((await waiting).cause).to.be.instanceOf(LockLostError);
  });

  it('aborts what AbortSignal.any has made of it, also if that is made after a block', async () => {
    const [early, late] = [await hold(), await hold()];
    const before = AbortSignal.any([early.signal, new AbortController().signal]);

    block();
    const after = AbortSignal.any([late.signal, new AbortController().signal]);
    // Node asks neither of them, so they learn of it by the abort of ours.
    void [early.signal.aborted, late.signal.aborted];

    expect([before.aborted, after.aborted]).to.deep.equal([true, true]);
    expect(before.reason).to.be.instanceOf(LockLostError);
  });

  it('aborts by itself soon after a block, though nobody asks', async () => {
    const handle = await hold();
    const combined = AbortSignal.any([handle.signal]);
    let wasAborted = false;
    handle.signal.onabort = () => {
      wasAborted = true;
    };

    block();

    await until(() => wasAborted && combined.aborted);
  });

  it('calls its listeners in their order, with an event of its own', async () => {
    const handle = await hold();
    const calls: unknown[] = [];
    handle.signal.addEventListener('abort', event => calls.push(event.target === handle.signal));
    handle.signal.addEventListener('abort', () => calls.push('second'), { once: true });

    block();
    void handle.signal.aborted;

    expect(calls).to.deep.equal([true, 'second']);
  });
});

describe('clockedController', () => {
  it('looks before each answer, and answers as any signal does', () => {
    let looks = 0;
    const controller = clockedController(() => looks++);
    const { signal } = controller;

    const before = [signal.aborted, signal.reason, throws(() => signal.throwIfAborted())];
    controller.abort('over');
    const after = [signal.aborted, signal.reason, throws(() => signal.throwIfAborted())];

    expect(before).to.deep.equal([false, undefined, false]);
    expect(after).to.deep.equal([true, 'over', true]);
    expect(looks).to.be.at.least(6);
  });
});

/** Whether a call throws. */
function throws(call: () => unknown): boolean {
  try {
    call();
    return false;
  } catch {
    return true;
  }
}
