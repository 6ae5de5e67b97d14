/** The tests that docs/testing.md shows are run, with the little that they use of Jest. */

import assert from 'node:assert/strict';
import { expect } from 'chai';
import { transformSync } from 'esbuild';
import sinon from 'sinon';
import { runJob } from '../examples/testing/run-job.ts';
import * as bullmqOnce from '../src/index.ts';
import { readDoc } from './support/index.ts';

const FAKED = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance', 'Date'] as const;

/** The blocks of the page that contain some words. */
async function blockWith(words: string): Promise<string> {
  const blocks = [...(await readDoc('docs/testing.md')).matchAll(/^```ts\n([\s\S]*?)^```/gm)];
  return blocks.map(([, code]) => code as string).find(code => code.includes(words)) as string;
}

describe('docs/testing.md', () => {
  const before = bullmqOnce.caches.default;
  afterEach(() => {
    bullmqOnce.caches.default = before;
    sinon.restore();
  });

  it('shows the function that runs a job as the example has it', async () => {
    expect(await readDoc('examples/testing/run-job.ts')).to.contain(await blockWith('function runJob'));
  });

  it('shows tests that pass', async () => {
    const { code } = transformSync(await blockWith('jest.useFakeTimers'), { loader: 'ts' });
    const tests = new Map<string, () => Promise<void>>();
    let start = () => {};
    let end = () => {};
    let clock: sinon.SinonFakeTimers;
    const names = {
      ...{ caches: bullmqOnce.caches, MemoryCache: bullmqOnce.MemoryCache },
      ...{ onceProcessor: bullmqOnce.onceProcessor, runJob },
      jest: {
        useFakeTimers() {
          clock = sinon.useFakeTimers({ toFake: [...FAKED] });
        },
        useRealTimers: () => clock.restore(),
        advanceTimersByTimeAsync: (ms: number) => clock.tickAsync(ms),
      },
      beforeEach(hook: () => void) {
        start = hook;
      },
      afterEach(hook: () => void) {
        end = hook;
      },
      test: (title: string, run: () => Promise<void>) => tests.set(title, run),
      expect: (actual: unknown) => ({
        toBe: (expected: unknown) => assert.equal(actual, expected),
        toEqual: (expected: unknown) => assert.deepEqual(actual, expected),
      }),
    };
    new Function(...Object.keys(names), code.replace(/^import .*$/gm, ''))(...Object.values(names));

    for (const run of tests.values()) {
      start();
      try {
        await run();
      } finally {
        end();
      }
    }
    expect(tests.size).to.equal(4);
  });
});
