/** What the topics of the suite share: how a test is defined, the steps that it sends, and assertions. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  AcquireResult,
  AcquireStep,
  LockCache,
  LockRecord,
  ReleaseStep,
  RenewStep,
  Reservation,
} from '../cache/contract.ts';
import type { CacheUnderTest, CreatedCache } from './cache-under-test.ts';
import type { GuaranteeName } from './guarantees.ts';

/** How long a test may take, in runners that let a test set its timeout. */
export const TEST_TIMEOUT_MS = 120_000;

/** Defines one test. It belongs to one guarantee, and is skipped where the cache does not keep that. */
export type DefineTest = (
  guarantee: GuaranteeName,
  title: string,
  run: (tested: TestedCaches) => Promise<void>,
) => void;

/** What a test gets. All tests of a suite share one store. */
export interface TestedCaches {
  readonly cache: LockCache;
  /** A second instance on the same store; `cache` itself, where the guarantee `acrossInstances` is not kept. */
  readonly other: LockCache;
  readonly created: CreatedCache;
  /** Creates caches on another store, which the test closes. */
  readonly create: CacheUnderTest['create'];
}

/** An acquisition of a key of its own, by an owner of its own. */
export function acquireStep(given: Partial<AcquireStep> = {}): AcquireStep {
  return {
    storedKey: newStoredKey(),
    token: randomUUID(),
    owner: `owner ${randomUUID()}`,
    attempt: 0,
    ttl: 60_000,
    ...given,
  };
}

/** The renewal of what a step acquired. */
export function renewStep({ storedKey, token, ttl }: AcquireStep): RenewStep {
  return { storedKey, token, ttl };
}

/** The release of what a step acquired. */
export function releaseStep({ storedKey, token }: AcquireStep, dedupeFor = 0): ReleaseStep {
  return { storedKey, token, dedupeFor };
}

/** Reserves what a step acquired for the next run of its owner. */
export function reserveStep(step: AcquireStep, reservation: Reservation): ReleaseStep {
  return { ...releaseStep(step), reservation };
}

export function newStoredKey(): string {
  return `conformance:${randomUUID()}`;
}

export async function acquire(cache: LockCache, step: AcquireStep): Promise<AcquireResult> {
  return onlyAnswer(await cache.acquire([step]));
}

/** Renews what a step acquired. */
export async function renew(cache: LockCache, step: AcquireStep): Promise<boolean> {
  return onlyAnswer(await cache.renew([renewStep(step)]));
}

/** Releases what a step acquired. */
export async function release(cache: LockCache, step: AcquireStep, dedupeFor = 0): Promise<boolean> {
  return onlyAnswer(await cache.release([releaseStep(step, dedupeFor)]));
}

/** Reserves what a step acquired for the next run of its owner. */
export async function reserve(
  cache: LockCache,
  step: AcquireStep,
  reservation: Reservation,
): Promise<boolean> {
  return onlyAnswer(await cache.release([reserveStep(step, reservation)]));
}

export async function inspect(cache: LockCache, storedKey: string): Promise<LockRecord | undefined> {
  return (await cache.inspect([storedKey]))[0];
}

/** The answer to a batch of one step. */
export function onlyAnswer<Answer>(answers: readonly (Answer | Error)[]): Answer {
  const [first] = answers;
  if (first instanceof Error) throw first;
  return first as Answer;
}

export function isAcquired(result: AcquireResult | Error): boolean {
  if (result instanceof Error) throw result;
  return result.acquired;
}

/** Asserts that an object has some properties, among others. */
export function assertIncludes<T extends object>(actual: T | undefined, expected: object): void {
  assert.deepEqual({ ...actual, ...expected }, actual);
}

export function assertWithin(actual: number | undefined, min: number, max: number, what: string): void {
  assert(
    actual !== undefined && actual >= min && actual <= max,
    `${what} is ${actual}, not ${min} to ${max}`,
  );
}

/** Waits until a condition holds. */
export async function until(condition: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    assert(Date.now() < end, `this condition did not hold within ${timeoutMs} ms: ${condition}`);
    await delay(5);
  }
}
