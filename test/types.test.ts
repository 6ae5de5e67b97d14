/** What the compiler must know. Compiled by the type-check, which fails where an expectation does not hold. */

import type { GlideClient, GlideClusterClient } from '@valkey/valkey-glide';
import { type Job, type Processor, type SandboxedJob, Worker } from 'bullmq';
import type { createCache } from 'cache-manager';
import { expect } from 'chai';
import { expectTypeOf } from 'expect-type';
import { Cluster, Redis } from 'ioredis';
import Keyv from 'keyv';
import { LRUCache } from 'lru-cache';
import type pg from 'pg';
import { createClient, createCluster } from 'redis';
import { type Cache, Lock, type LockHandle, once, onceProcessor, type RedisClient } from '../src/index.ts';
import type { PostgresPool } from '../src/postgres.ts';

interface Data {
  readonly userId: number;
  readonly user?: { readonly name: string; readonly tags: readonly string[] };
}
type Name = 'welcome' | 'goodbye';

const send = async (_job: Job<Data, string, Name>): Promise<string> => 'sent';

// Never called: here the compiler is the test.
function typesOfProcessors(): void {
  // Data, result and name of the processor are those of the wrapped one, with `undefined` for the skipped.
  const guarded = onceProcessor(send, { key: 'welcome-{userId}' });
  expectTypeOf<Parameters<typeof guarded>[0]['data']>().toEqualTypeOf<Data>();
  expectTypeOf<Parameters<typeof guarded>[0]['name']>().toEqualTypeOf<Name>();
  expectTypeOf(guarded).returns.toEqualTypeOf<Promise<string | undefined>>();
  expectTypeOf(guarded).toExtend<Processor<Data, string | undefined, Name>>();
  new Worker<Data, string | undefined, Name>('emails', guarded, { connection: {} });
  // @ts-expect-error a worker of other data
  new Worker<{ id: string }, string | undefined, Name>('emails', guarded, { connection: {} });

  // Written in place, the job has the worker's type.
  new Worker<Data, string | undefined, Name>(
    'emails',
    onceProcessor(
      async (job, token, signal, lock) => {
        expectTypeOf(job.data.userId).toEqualTypeOf<number>();
        expectTypeOf(token).toEqualTypeOf<string | undefined>();
        expectTypeOf(signal).toEqualTypeOf<AbortSignal | undefined>();
        expectTypeOf(lock).toEqualTypeOf<LockHandle>();
        return 'sent';
      },
      { key: 'welcome-{userId}' },
    ),
    { connection: {} },
  );
  new Worker(
    'emails',
    onceProcessor(async job => job.id, { key: 'welcome-{userId}' }),
    { connection: {} },
  );
}

function typesOfSandboxedProcessors(): void {
  const inSandbox = async (_job: SandboxedJob<Data>): Promise<string> => 'sent';
  const guarded = onceProcessor(inSandbox, { key: 'welcome-{userId}' });
  expectTypeOf<Parameters<typeof guarded>[0]['data']>().toEqualTypeOf<Data>();
  expectTypeOf(guarded).returns.toEqualTypeOf<Promise<string | undefined>>();
  onceProcessor(inSandbox, { key: job => `${job.data.userId}` });
  onceProcessor(async (job: SandboxedJob<Data>, _token, signal, lock) => [
    job.id,
    signal?.aborted,
    lock.fence,
  ]);
  // @ts-expect-error the data have no such field
  onceProcessor(inSandbox, { key: 'welcome-{userID}' });
}

function typesOfKeys(): void {
  onceProcessor(send, { key: '{user.name}-{user.tags.0}-{{literal}}-{userId}' });
  onceProcessor(send, { key: job => `${job.data.userId}` });
  onceProcessor(send, { key: 'no placeholder' });
  // @ts-expect-error the data have no such field
  onceProcessor(send, { key: 'welcome-{userID}' });
  // @ts-expect-error nor the object in them
  onceProcessor(send, { key: 'welcome-{user.nam}' });
  // @ts-expect-error one of two
  onceProcessor(send, { key: '{userId}-{id}' });
  // @ts-expect-error a number has no fields
  onceProcessor(send, { key: '{userId.x}' });
  // @ts-expect-error a key is a string
  onceProcessor(send, { key: (job: Job<Data>) => job.data.userId });
  // What is not known at compile time is checked when it runs.
  onceProcessor(send, { key: String(process.env.KEY) });
  onceProcessor(async (_job: Job) => {}, { key: '{whatever}' });
  // @ts-expect-error there is no such option
  onceProcessor(send, { raiseIfLocked: true });

  // The job of a duplicate has the processor's type, and so has its result.
  onceProcessor(send, { whenLocked: { delay: job => job.data.userId } });
  onceProcessor(send, { whenLocked: (job, holder) => `${job.data.userId} ${holder.owner}` });
  onceProcessor(send, { whenLocked: { waitFor: 100 }, raiseIfLock: true });
  // @ts-expect-error there is no such form
  onceProcessor(send, { whenLocked: 'wait' });
  // @ts-expect-error the processor's result is a string
  onceProcessor(send, { whenLocked: () => 42 });
  // @ts-expect-error a time is a number
  onceProcessor(send, { whenLocked: { delay: 'soon' } });
}

function typesOfCaches(): void {
  // The real clients and stores fit what is asked of them.
  expectTypeOf<Redis>().toExtend<RedisClient>();
  expectTypeOf<Cluster>().toExtend<RedisClient>();
  expectTypeOf<ReturnType<typeof createClient>>().toExtend<RedisClient>();
  expectTypeOf<ReturnType<typeof createCluster>>().toExtend<RedisClient>();
  expectTypeOf<GlideClient>().toExtend<RedisClient>();
  expectTypeOf<GlideClusterClient>().toExtend<RedisClient>();
  expectTypeOf<pg.Pool>().toExtend<PostgresPool>();
  expectTypeOf<Awaited<ReturnType<typeof createCache>>>().toExtend<Cache>();
  expectTypeOf(new Map<string, unknown>()).toExtend<Cache>();
  expectTypeOf<Keyv>().toExtend<Cache>();
  expectTypeOf<LRUCache<string, string>>().toExtend<Cache>();
}

async function typesOfOnce(): Promise<void> {
  const guarded = once(async (id: number, name?: string) => `${id}${name}`, { key: 'k-{0}' });
  expectTypeOf(guarded).parameters.toEqualTypeOf<[id: number, name?: string | undefined]>();
  expectTypeOf(guarded).returns.toEqualTypeOf<Promise<string | undefined>>();
  // @ts-expect-error the arguments are those of the function
  await guarded('1');
  // @ts-expect-error a key is not left out
  once(async () => 1, {});
  // @ts-expect-error the first argument has no such field
  once(async (feed: { url: string }) => feed, { key: 'feed-{uri}' });
}

function typesOfDecorators(): void {
  class Service {
    @once({ key: 'k' })
    async none(): Promise<void> {}

    // @ts-expect-error a skipped call has no result, which the type of the method must say
    @once({ key: 'k' })
    async some(): Promise<string> {
      return 'x';
    }

    @onceProcessor({ key: 'welcome-{userId}' })
    async process(job: Job<Data>): Promise<string | undefined> {
      return job.id;
    }

    // @ts-expect-error the data have no such field
    @onceProcessor((service: Service) => ({ key: 'welcome-{userID}', scope: service.constructor.name }))
    async processToo(job: Job<Data>): Promise<string | undefined> {
      return job.id;
    }
  }
  // The method has the type that it was written with.
  expectTypeOf<Service['process']>().toEqualTypeOf<(job: Job<Data>) => Promise<string | undefined>>();
}

async function typesOfLocks(): Promise<void> {
  const lock = new Lock('k');
  expectTypeOf(await lock.tryAcquire()).toEqualTypeOf<LockHandle | undefined>();
  expectTypeOf(await lock.acquire({ waitFor: 100 })).toEqualTypeOf<LockHandle>();
  expectTypeOf(await lock.run(() => 7)).toEqualTypeOf<number>();
  expectTypeOf(await lock.run(async handle => handle)).toEqualTypeOf<LockHandle>();
}

describe('types', () => {
  it('are checked by the compiler, before the tests run', () => {
    for (const compiled of [
      typesOfProcessors,
      typesOfSandboxedProcessors,
      typesOfKeys,
      typesOfCaches,
      typesOfOnce,
      typesOfDecorators,
      typesOfLocks,
      Cluster,
      Redis,
      Keyv,
      LRUCache,
    ]) {
      expect(compiled).to.be.a('function');
    }
    expect([createClient, createCluster]).to.have.length(2);
  });
});
