/**
 * Keeps leases in Redis (also Valkey, KeyDB, Dragonfly): one key a lock, one script call a batch, the server's
 * clock. Keeps all promises against one server; a fail-over that loses writes loses locks with them.
 */

import { asError } from '../errors.ts';
import type { Answers, Batch, Claim, Holder, Lease, LockCache, Verdict } from './cache.ts';
import { foreignHolder, holderOf, parseRecord } from './record.ts';
import { type RedisClient, type ScriptRunner, scriptRunner } from './redis-client.ts';
import { EXCHANGE_LUA, INSPECT_LUA } from './redis-script.ts';

/** The script's answer to one step, see there. */
type Reply = number | readonly ['held' | 'foreign' | 'error', string, number?];

/**
 * A cache on a Redis connection of the user's, which stays the user's to configure and to close.
 *
 * Give it a connection that does not block (no BLPOP and the like). A connection to a cluster works: it is asked
 * key by key.
 *
 * @example
 * ```ts
 * const redis = new Redis();
 * caches.default = new RedisCache(redis);
 * ```
 */
export class RedisCache implements LockCache {
  readonly #exchange: ScriptRunner;
  readonly #inspect: ScriptRunner;

  /**
   * @param client - an ioredis or node-redis client, or one of BullMQ's wrapped clients.
   * @throws TypeError it is none of them.
   */
  constructor(client: RedisClient) {
    this.#exchange = scriptRunner(client, EXCHANGE_LUA);
    this.#inspect = scriptRunner(client, INSPECT_LUA);
  }

  async acquire(claims: readonly Claim[]): Promise<readonly (Verdict | Error)[]> {
    return (await this.exchange({ claims, renewals: [], releases: [] })).claimed;
  }

  async renew(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ claims: [], renewals: leases, releases: [] })).renewed;
  }

  async release(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ claims: [], renewals: [], releases: leases })).released;
  }

  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    const parts = [...chunks(keys, this.#inspect.mostKeys)];
    const answers = await Promise.all(parts.map(some => this.#inspect.run(some, [some.length])));
    return (answers as (readonly [string, number] | 0)[][])
      .flat()
      .map((answer, i) => (answer === 0 ? undefined : holderFrom(keys[i] as string, ...answer)));
  }

  /** Sends the whole batch before it returns its promise, in as many calls as it takes. */
  async exchange(batch: Batch): Promise<Answers> {
    const calls = await Promise.all(parts(batch, this.#exchange.mostKeys).map(part => this.#send(part)));
    const replies = calls.length === 1 ? (calls[0] as (typeof calls)[number]) : calls.flat();
    const renewalsAt = batch.releases.length;
    const claimsAt = renewalsAt + batch.renewals.length;
    return {
      released: replies.slice(0, renewalsAt).map(yesOrNo),
      renewed: replies.slice(renewalsAt, claimsAt).map(yesOrNo),
      claimed: batch.claims.map((claim, i) => verdictOf(claim, replies[claimsAt + i] as Reply | Error)),
    };
  }

  /** One call of the script. Where it fails, so has each of its steps, and none of the other calls'. */
  async #send({ releases, renewals, claims }: Batch): Promise<readonly (Reply | Error)[]> {
    const steps = releases.length + renewals.length + claims.length;
    const keys: string[] = [];
    const args: (string | number)[] = [releases.length, renewals.length, claims.length];
    for (const { key, token, keepFor } of releases) {
      keys.push(key);
      args.push(`${Math.ceil(keepFor)}\n${JSON.stringify(token)}`);
    }
    for (const { key, token, ttl } of renewals) {
      keys.push(key);
      args.push(`${Math.ceil(ttl)}\n${JSON.stringify(token)}`);
    }
    for (const { key, token, ttl, attempt, owner } of claims) {
      keys.push(key);
      args.push(`${Math.ceil(ttl)}\n${attempt}\n${JSON.stringify(token)}\n${JSON.stringify(owner)}`);
    }
    try {
      const replies = await this.#exchange.run(keys, args);
      if (Array.isArray(replies) && replies.length === steps) return replies as Reply[];
      throw new Error(`Redis answered ${JSON.stringify(replies)} where ${steps} answers were due`);
    } catch (error) {
      return new Array<Error>(steps).fill(asError(error));
    }
  }
}

/** Cuts a batch into calls of at most `most` steps, in the order releases, renewals, claims. */
function parts(batch: Batch, most: number): Batch[] {
  const { releases, renewals, claims } = batch;
  if (releases.length + renewals.length + claims.length <= most) return [batch];
  const cut: Batch[] = [];
  for (const some of chunks(releases, most)) cut.push({ releases: some, renewals: [], claims: [] });
  for (const some of chunks(renewals, most)) cut.push({ releases: [], renewals: some, claims: [] });
  for (const some of chunks(claims, most)) cut.push({ releases: [], renewals: [], claims: some });
  return cut;
}

function* chunks<Step>(steps: readonly Step[], most: number): Iterable<readonly Step[]> {
  for (let i = 0; i < steps.length; i += most) yield steps.slice(i, i + most);
}

function yesOrNo(reply: Reply | Error): boolean | Error {
  return typeof reply === 'number' ? reply === 1 : failureOf(reply);
}

function verdictOf({ key }: Claim, reply: Reply | Error): Verdict | Error {
  if (typeof reply === 'number') return { taken: true, fence: Math.abs(reply), tookOver: reply < 0 };
  if (reply instanceof Error || reply[0] === 'error') return failureOf(reply);
  return { taken: false, holder: holderFrom(key, reply[1], reply[2] ?? -1) };
}

function failureOf(reply: Exclude<Reply, number> | Error): Error {
  return reply instanceof Error ? reply : new Error(reply[1]);
}

function holderFrom(key: string, value: string, left: number): Holder {
  const expiresIn = left < 0 ? Number.POSITIVE_INFINITY : left;
  const record = parseRecord(value);
  return record ? { ...holderOf(key, record, 0), expiresIn } : foreignHolder(key, expiresIn);
}
