import { expect } from 'chai';
import { Emitter } from '../../src/events/emitter.ts';
import { EVENT_TYPES } from '../../src/events/events.ts';
import {
  type AcquiredEvent,
  type KeyErrorEvent,
  Lock,
  MemoryCache,
  once,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { plainJob } from '../support/bullmq.ts';
import { failingCache, NO_ROUTE } from '../support/failing-cache.ts';
import { connectRedis, deferred, rejection, uniqueName, until } from '../support/index.ts';
import { type RecordedEvents, recordEvents } from './recorded-events.ts';

describe('The events of a lock', () => {
  let key: string;
  let recorded: RecordedEvents;
  beforeEach(() => {
    key = uniqueName('k');
    recorded = recordEvents(key);
  });
  afterEach(() => recorded.stop());

  it('have one of these types', () => {
    expect(EVENT_TYPES).to.deep.equal([
      ...['acquired', 'reclaimed', 'renewed', 'lost', 'released', 'reserved'],
      ...[
        'skipped',
        'raised',
        'delayed',
        'parked',
        'shared',
        'mismatched',
        'handled',
        'cache-error',
        'key-error',
      ],
    ]);
  });

  it('report that it is acquired, renewed and released', async () => {
    const redis = connectRedis();
    const lock = new Lock(key, { cache: new RedisCache(redis), ttl: 240, owner: 'me', scope: 's' });

    const handle = await lock.acquire();
    await until(() => recorded.types().includes('renewed'));
    await handle.release();
    redis.disconnect();

    const subject = { key, storedKey: `once::1:s:${key}`, owner: 'me', fence: handle.fence };
    const [acquired, renewed] = recorded.events;
    const released = recorded.events.at(-1);
    expect(acquired).to.include({ ...subject, type: 'acquired' });
    expect(acquired).to.have.property('waitedFor').within(0, 10_000);
    expect(renewed).to.include({ ...subject, type: 'renewed', ttl: 240 });
    expect(released).to.include({ ...subject, type: 'released', dedupeFor: 0 });
    expect(released).to.have.property('heldFor').above(0);
  });

  it('report for how long the key stays held as done', async () => {
    await new Lock(key, { cache: new MemoryCache(), dedupeFor: 60_000 }).run(() => {});

    expect(recorded.types()).to.deep.equal(['acquired', 'released']);
    expect(recorded.events[1]).to.include({ dedupeFor: 60_000 });
  });

  it('report how long it was waited for', async () => {
    const cache = new MemoryCache();
    const first = await new Lock(key, { cache }).acquire();
    const waiting = new Lock(key, { cache }).acquire({ waitFor: 10_000 });
    setTimeout(() => void first.release(), 60);

    await waiting;

    expect(recorded.ofType('acquired')[1]).to.have.property('waitedFor').above(40);
  });

  it('report once that it is lost, and why', async () => {
    const redis = connectRedis();
    const handle = await new Lock(key, { cache: new RedisCache(redis), ttl: 240 }).acquire();

    await redis.del(`once::1:default:${key}`);
    await until(() => recorded.types().includes('lost'));
    await handle.release();
    redis.disconnect();

    expect(recorded.ofType('lost')).to.have.length(1);
    expect(recorded.ofType('lost')[0]).to.include({ key, reason: 'revoked', fence: handle.fence });
    expect(recorded.types()).not.to.include('released');
  });

  it('report that its own owner reclaims it', async () => {
    const cache = new MemoryCache();
    const first = await new Lock(key, { cache, owner: 'me' }).acquire();
    const second = await new Lock(key, { cache, owner: 'me' }).acquire();

    expect(recorded.types()).to.deep.equal(['acquired', 'lost', 'reclaimed', 'acquired']);
    expect(recorded.events[1]).to.include({ fence: first.fence, reason: 'revoked' });
    expect(recorded.events[2]).to.include({ fence: second.fence });
  });

  it('are not built where nobody listens', () => {
    const emitter = new Emitter();

    const before = emitter.isObserved('acquired');
    recorded.stop();

    // A lock asks this before it builds an event.
    expect([before, emitter.isObserved('acquired')]).to.deep.equal([true, false]);
  });

  describe('cache-error', () => {
    it('reports an acquisition that the cache could not do', async () => {
      await rejection(new Lock(key, { cache: failingCache('acquire') }).acquire());

      expect(recorded.types()).to.deep.equal(['cache-error']);
      expect(recorded.events[0]).to.include({ key, operation: 'acquire', failedOpen: false });
      expect(recorded.events[0]).to.have.nested.property('error.code', 'ERR_LOCK_CACHE');
    });

    it('reports a renewal that the cache could not do, and then the loss', async () => {
      await new Lock(key, { cache: failingCache('renew'), ttl: 100 }).acquire();
      await until(() => recorded.types().includes('lost'));

      const [error] = recorded.ofType('cache-error');
      expect(error).to.include({ key, operation: 'renew', failedOpen: false });
      expect(error).to.have.nested.property('error.message', NO_ROUTE);
      expect(recorded.ofType('lost')[0]).to.include({ reason: 'unreachable' });
    });

    it('reports a release that the cache could not do', async () => {
      const handle = await new Lock(key, { cache: failingCache('release'), ttl: 100 }).acquire();
      await handle.release();

      expect(recorded.types()).to.include('cache-error').and.not.include('released');
      const [error] = recorded.ofType('cache-error');
      expect(error).to.include({ key, operation: 'release', failedOpen: false });
      expect(error).to.have.nested.property('error.message', NO_ROUTE);
    });

    it("says that the work fails open (the option 'onCacheError' is 'run')", async () => {
      const cache = failingCache('acquire');

      const result = await once(() => 'ran', { key, cache, onCacheError: 'run' })();

      expect(result).to.equal('ran');
      expect(recorded.types()).to.deep.equal(['cache-error']);
      expect(recorded.events[0]).to.include({ operation: 'acquire', failedOpen: true });
    });

    it("reports that a job fails open where the cache can't say where it stands in line ('keep-last')", async () => {
      const cache = failingCache('enter');
      const options = { key, cache, whenLocked: 'keep-last', onCacheError: 'run' } as const;

      const result = await onceProcessor(() => 'ran', options)(plainJob('1'));

      expect(result).to.equal('ran');
      const [error] = recorded.ofType('cache-error');
      expect(error).to.include({ operation: 'acquire', failedOpen: true, jobId: '1', queueName: 'emails' });
    });
  });

  describe('key-error', () => {
    it("reports that no key could be built, and that the work runs without a lock (the mode is 'observe')", async () => {
      const guarded = once((_: object) => 'ran', {
        key: 'k-{id}',
        mode: 'observe',
        cache: new MemoryCache(),
      });

      expect(await guarded({})).to.equal('ran');

      expect(recorded.types()).to.deep.equal(['key-error']);
      const [{ error, ...event }] = recorded.ofType('key-error') as [KeyErrorEvent];
      expect(event).to.include({ type: 'key-error', key: '', storedKey: '', owner: '' });
      expect(error).to.include({ code: 'ERR_LOCK_KEY', placeholder: 'id' });
    });

    it("is not emitted where the job fails with the error (the mode is 'enforce')", async () => {
      const guarded = once((_: object) => 'ran', { key: 'k-{id}', cache: new MemoryCache() });

      expect(await rejection(guarded({}))).to.include({ code: 'ERR_LOCK_KEY' });
      expect(recorded.events).to.deep.equal([]);
    });
  });

  describe('handled', () => {
    it("reports a duplicate that the function 'whenLocked' handles, before the function is called", async () => {
      const cache = new MemoryCache();
      const gate = deferred();
      const typesAtCall: string[] = [];
      const whenLocked = () => {
        typesAtCall.push(...recorded.types());
        return 'handled';
      };
      const guarded = once(() => gate.promise, { key, cache, whenLocked });
      const first = guarded();

      expect(await guarded()).to.equal('handled');
      gate.resolve();
      await first;

      expect(typesAtCall).to.deep.equal(['acquired', 'handled']);
      const [{ owner }] = recorded.ofType('acquired') as [AcquiredEvent];
      expect(recorded.ofType('handled')[0]).to.include({ key, observed: false });
      expect(recorded.ofType('handled')[0]).to.have.nested.property('holder.owner', owner);
    });
  });
});
