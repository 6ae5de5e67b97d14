/** What the author of a cache passes to the conformance suite. */

import assert from 'node:assert/strict';
import type { LockCache } from '../cache/contract.ts';
import type { GuaranteeName } from './guarantees.ts';

export interface CacheUnderTest {
  /** The name of the suite in the report. */
  readonly name: string;
  /** Creates caches to test. It is called more than once. The suite closes what it returns. */
  create(): CreatedCache | Promise<CreatedCache>;
  /** The guarantees that the cache can't keep, as `false`. Their tests are reported as skipped. @defaultValue none */
  readonly guarantees?: { readonly [name in GuaranteeName]?: boolean };
  /** The test runner: `import * as runner from 'node:test'` or `'vitest'`. @defaultValue the global functions */
  readonly runner?: TestRunner;
}

/** What `create` returns: a store of its own, and caches on it. */
export interface CreatedCache {
  readonly cache: LockCache;
  /** A second instance on the same store. Needed for the guarantee `acrossInstances`. */
  readonly other?: LockCache;
  /** Stores a value under a key, past the cache. Needed for the guarantee `foreignValues`. */
  foreign?(storedKey: string, value: string): unknown;
  /** Makes the store unreachable for `cache`, from now on. Needed for the guarantee `outages`. */
  outage?(): unknown;
  close?(): unknown;
}

/** What is used of a test runner. One of `after` and `afterAll` is enough. */
export interface TestRunner {
  describe(name: string, define: () => void): unknown;
  readonly it: {
    (name: string, test: () => Promise<void>, timeout?: any): any;
    skip(name: string, test: () => Promise<void>): unknown;
  };
  after?(hook: () => Promise<void>): unknown;
  afterAll?(hook: () => Promise<void>): unknown;
}

/** Fails the test where `create` did not return what it needs. */
export function need<Name extends keyof CreatedCache>(
  created: CreatedCache,
  name: Name,
  guarantee: GuaranteeName,
): asserts created is CreatedCache & Required<Pick<CreatedCache, Name>> {
  assert(
    created[name],
    `create() returned no '${name}', which the tests of the guarantee '${guarantee}' need; ` +
      `a cache that can't keep this guarantee declares guarantees: { ${guarantee}: false }`,
  );
}
