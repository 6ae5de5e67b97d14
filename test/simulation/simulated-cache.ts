/** The cache of a simulated process: it sends each step to the simulated server. It stands where `RedisCache` does in the library. */

import type {
  AcquireStep,
  Batch,
  BatchResults,
  EnterResult,
  EnterStep,
  ForceReleaseStep,
  LeaveResult,
  LeaveStep,
  LineQuery,
  LineRecord,
  Listener,
  LockCache,
  LockRecord,
  ReleaseStep,
  RenewStep,
} from '../../src/cache/contract.ts';
import type { Connection } from './network.ts';
import type { Server } from './server.ts';
import type { StoredJob } from './stored-job.ts';

/** A client, as a worker or a user has it: one connection, or a pool of them. */
export interface SimulatedClient {
  readonly connection?: Connection;
  readonly pool?: readonly Connection[];
}

/** The class `RedisCache` of one process. */
export type CacheClass = new (client: SimulatedClient) => LockCache;

/** @param refuse - marks an error as the datastore's own, as the library of the process knows it. */
export function cacheClassFor(refuse: (error: Error) => Error): CacheClass {
  return class RedisCache extends SimulatedCache {
    constructor(client: SimulatedClient) {
      super(client, refuse);
    }
  };
}

class SimulatedCache implements LockCache {
  readonly datastore = 'the simulated server';
  readonly overtakes: boolean;
  readonly #client: SimulatedClient;
  readonly #server: Server;
  readonly #refuse: (error: Error) => Error;
  #sent = 0;

  constructor(client: SimulatedClient, refuse: (error: Error) => Error) {
    this.#client = client;
    this.#server = this.#connection().server;
    this.#refuse = refuse;
    this.overtakes = client.pool !== undefined;
  }

  exchange({ releases, renewals, acquisitions }: Batch): Promise<BatchResults> {
    const batch = {
      releases: releases.map(copyOfRelease),
      renewals: renewals.map(copyOfRenewal),
      acquisitions: acquisitions.map(copyOfAcquisition),
    };
    return this.#send('exchange', ({ locks }) => ({
      released: batch.releases.map(step => this.#unlessRefused('writes', () => locks.release(step))),
      renewed: batch.renewals.map(step => this.#unlessRefused('writes', () => locks.renew(step))),
      acquired: batch.acquisitions.map(step =>
        this.#unlessRefused('acquisitions', () => locks.acquire(step)),
      ),
    }));
  }

  async acquire(steps: readonly AcquireStep[]): Promise<BatchResults['acquired']> {
    return (await this.exchange({ releases: [], renewals: [], acquisitions: steps })).acquired;
  }

  async renew(steps: readonly RenewStep[]): Promise<BatchResults['renewed']> {
    return (await this.exchange({ releases: [], renewals: steps, acquisitions: [] })).renewed;
  }

  async release(steps: readonly ReleaseStep[]): Promise<BatchResults['released']> {
    return (await this.exchange({ releases: steps, renewals: [], acquisitions: [] })).released;
  }

  inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return this.#send('inspect', ({ locks }) => storedKeys.map(storedKey => locks.inspect(storedKey)));
  }

  enter(steps: readonly EnterStep[]): Promise<readonly (EnterResult | Error)[]> {
    const copies = steps.map(copyOfEntry);
    return this.#send('enter', ({ locks }) =>
      copies.map(step => this.#unlessRefused('acquisitions', () => locks.enter(step))),
    );
  }

  leave(steps: readonly LeaveStep[]): Promise<readonly (LeaveResult | Error)[]> {
    const copies = steps.map(step => ({ ...step }));
    return this.#send('leave', ({ locks }) =>
      copies.map(step => this.#unlessRefused('writes', () => locks.leave(step))),
    );
  }

  lines(queries: readonly LineQuery[]): Promise<readonly LineRecord[]> {
    return this.#send('lines', ({ locks }) => queries.map(query => locks.line(query)));
  }

  strikeOut(queries: readonly LineQuery[]): Promise<readonly (boolean | Error)[]> {
    return this.#send('strikeOut', ({ locks }) =>
      queries.map(query => this.#unlessRefused('writes', () => locks.strikeOut(query))),
    );
  }

  results(storedKeys: readonly string[]): Promise<(string | undefined)[]> {
    return this.#send('results', ({ locks }) => storedKeys.map(storedKey => locks.result(storedKey)));
  }

  forceRelease(steps: readonly ForceReleaseStep[]): Promise<readonly (boolean | Error)[]> {
    return this.#send('forceRelease', ({ locks }) =>
      steps.map(step => this.#unlessRefused('writes', () => locks.forceRelease(step))),
    );
  }

  /** Listening takes a connection of its own: what is released before it listens is not notified. */
  listen(storedKey: string, onRelease: () => void): Listener {
    const connection = this.#connection();
    const { process } = connection;
    const { listeners } = this.#server;
    let isStopped = false;
    let isListening = false;
    const notify = (): void => {
      if (connection.isTroubled) return;
      process.after(1, () => isStopped || onRelease());
    };
    process.after(3, () => {
      if (isStopped) return;
      isListening = true;
      const ofKey = listeners.get(storedKey) ?? new Set();
      listeners.set(storedKey, ofKey.add(notify));
      onRelease();
    });
    return {
      get isListening() {
        return isListening && !connection.isTroubled;
      },
      stop() {
        isStopped = true;
        const ofKey = listeners.get(storedKey);
        ofKey?.delete(notify);
        if (ofKey?.size === 0) listeners.delete(storedKey);
      },
    };
  }

  /**
   * The scripts by which the library asks what became of a job (the keys are those of the asking job, of the other, and of its queue), or
   * for the key of its parent.
   */
  runScript(_lua: string, keys: readonly string[]): Promise<unknown> {
    const [asking = '', other = '', meta = ''] = keys;
    if (keys.length === 1)
      return this.#send('parent', server => {
        const parent = jobAt(server, asking)?.opts.parent;
        return parent === undefined ? '' : `${queueOf(asking)}:${parent}`;
      });
    return this.#send('look up a job', server => {
      const find = (key: string) => jobAt(server, key);
      const { timestamp = '', finishedOn = '', failedReason = '' } = find(other) ?? {};
      const isQueue = server.queueNamed(meta.replace(/:meta$/, '')) ? '1' : '0';
      return [find(asking)?.timestamp ?? '', isQueue, timestamp, finishedOn, failedReason];
    });
  }

  #send<Answer>(name: string, apply: (server: Server) => Answer): Promise<Answer> {
    return this.#connection().send(name, () => apply(this.#server));
  }

  #connection(): Connection {
    const { connection, pool = [] } = this.#client;
    return connection ?? (pool[this.#sent++ % pool.length] as Connection);
  }

  #unlessRefused<Answer>(kind: 'acquisitions' | 'writes', act: () => Answer): Answer | Error {
    const { refuses } = this.#server;
    const isRefused = refuses === 'writes' || (refuses === 'acquisitions' && kind === 'acquisitions');
    return isRefused ? this.#refuse(new Error('OOM command not allowed')) : act();
  }
}

/** The part of a job's key that names its queue. */
function queueOf(key: string): string {
  return key.slice(0, key.indexOf(':', key.indexOf(':') + 1));
}

function jobAt(server: Server, key: string): Readonly<StoredJob> | undefined {
  const queue = queueOf(key);
  return server.queueNamed(queue)?.get(key.slice(queue.length + 1));
}

/** A step is sent as it is now: the lease that it is made of changes later. */
function copyOfAcquisition({
  storedKey,
  token,
  owner,
  attempt,
  ttl,
  notify,
  match,
}: AcquireStep): AcquireStep {
  return { storedKey, token, owner, attempt, ttl, notify: notify ?? false, match };
}

function copyOfEntry(step: EnterStep): EnterStep {
  const { places, line, joins, interrupts, reservedAfter } = step;
  return { ...copyOfAcquisition(step), places, ...(line && { line }), joins, interrupts, reservedAfter };
}

function copyOfRenewal({ storedKey, token, ttl }: RenewStep): RenewStep {
  return { storedKey, token, ttl };
}

function copyOfRelease({ storedKey, token, dedupeFor, reservation, result }: ReleaseStep): ReleaseStep {
  return { storedKey, token, dedupeFor, reservation, result };
}
