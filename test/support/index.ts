/** What tests share: names that are used once, connections, and conditions that are awaited. */

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis, type RedisOptions } from 'ioredis';

/** The Redis of this run. */
export function redisUrl(): string {
  const url = process.env.TEST_REDIS_URL;
  if (!url) throw new Error('run the tests with mocha, which starts a Redis');
  return url;
}

/** The Redis of this run, as options for BullMQ. */
export function redisOptions(): { host: string; port: number } {
  const { hostname, port } = new URL(redisUrl());
  return { host: hostname, port: Number(port || 6379) };
}

/** For a busy machine: Valkey GLIDE waits 250 ms for an answer unless it is told otherwise. */
export const GLIDE_OPTIONS = { requestTimeout: 10_000 };

export function connectRedis(options: RedisOptions = {}): Redis {
  const all: RedisOptions = { ...redisOptions(), maxRetriesPerRequest: null, ...options };
  const client = new Redis(all as { host: string });
  connected.add(client);
  return client;
}

const connected = new Set<Redis>();

/** Closes what a failed test has left open: an open connection would keep the run from ending. */
export function disconnectAll(): void {
  for (const client of connected) client.disconnect();
  connected.clear();
}

/** A name that no other test has. */
export function uniqueName(base: string = 'test'): string {
  return `${base}-${randomUUID()}`;
}

/** Resolves in the next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

/** Waits until a condition holds. The time limit is generous: it fails only if the condition would never hold. */
export async function until(
  condition: () => unknown,
  what: string = String(condition),
  within: number = 30_000,
): Promise<void> {
  const end = Date.now() + within;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`this did not hold within ${within} ms: ${what}`);
    await delay(5);
  }
}

/** A promise, and what resolves it. */
export interface Deferred<T = void> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>(settle => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** What a promise was rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await promise;
  } catch (error) {
    return error as Error & Record<string, unknown>;
  }
  throw new Error('the promise was not rejected');
}

/** A file of the project that its users read. */
export function readDoc(path: string): Promise<string> {
  return readFile(new URL(`../../${path}`, import.meta.url), 'utf8');
}
