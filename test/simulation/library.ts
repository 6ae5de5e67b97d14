/**
 * The library, bundled once and evaluated for each simulated process: each has module state, clocks, timers and randomness of its own.
 * The classes that talk to a real datastore are replaced by one that talks to the simulated one. All else is the code that users get.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

const root = fileURLToPath(new URL('../../', import.meta.url));
const requireReal = createRequire(import.meta.url);

/** What the simulation needs of the library. */
const GUARD = `
export { onceProcessor } from './src/guard/once-processor.ts';
export { refused } from './src/cache/refusals.ts';
`;
const RULES = `
export * from './src/cache/line-rules.ts';
export * from './src/cache/lock-rules.ts';
`;

/** A change of the library's source: a piece of text that is in the file exactly once, and what stands there instead. */
export interface Change {
  /** Under the root of the project. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** What a simulated process has instead of Node's globals. */
export interface Globals {
  readonly require: (name: string) => unknown;
  readonly process: object;
  readonly performance: object;
  readonly Date: object;
  readonly Math: object;
  readonly setTimeout: unknown;
  readonly clearTimeout: unknown;
  readonly setInterval: unknown;
  readonly clearInterval: unknown;
  readonly setImmediate: unknown;
}

const NAMES = [
  'require',
  'process',
  'performance',
  'Date',
  'Math',
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
] as const satisfies (keyof Globals)[];

export type Guard = Pick<typeof import('../../src/guard/once-processor.ts'), 'onceProcessor'> &
  Pick<typeof import('../../src/cache/refusals.ts'), 'refused'>;
export type Rules = typeof import('../../src/cache/line-rules.ts') &
  typeof import('../../src/cache/lock-rules.ts');

export interface Library {
  /** Evaluates what a process with workers has of the library. */
  guardFor(globals: Globals): Guard;
  /** Evaluates the rules by which a datastore decides. */
  rulesFor(globals: Globals): Rules;
}

/**
 * Bundles the library.
 * @param change - breaks it.
 * @throws Error the text to be changed is not in its file exactly once.
 */
export async function bundleLibrary(change?: Change): Promise<Library> {
  const [guard, rules] = await Promise.all([bundle(GUARD, change), bundle(RULES, change)]);
  return { guardFor: evaluator<Guard>(guard), rulesFor: evaluator<Rules>(rules) };
}

async function bundle(contents: string, change: Change | undefined): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    external: ['simulation:*'],
    plugins: [replaceDatastores, ...(change ? [changing(change)] : [])],
  });
  return (outputFiles[0] as { text: string }).text;
}

const replaceDatastores: Plugin = {
  name: 'replace-datastores',
  setup({ onLoad }) {
    onLoad({ filter: /redis-cache\.ts$/ }, () => ({
      contents: "export const { RedisCache } = require('simulation:cache');",
    }));
    onLoad({ filter: /postgres-cache\.ts$/ }, () => ({ contents: 'export class PostgresCache {}' }));
  },
};

function changing({ file, find, replace }: Change): Plugin {
  const source = readFileSync(join(root, file), 'utf8');
  const times = source.split(find).length - 1;
  if (times !== 1) throw new Error(`${file} has the text to be changed ${times} times:\n${find}`);
  return {
    name: 'change',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) =>
        relative(root, path) === file
          ? { contents: source.replace(find, () => replace), loader: 'ts' }
          : undefined,
      );
    },
  };
}

function evaluator<Exports>(text: string): (globals: Globals) => Exports {
  const evaluate = new Function('module', 'exports', 'globalThis', ...NAMES, text);
  return globals => {
    const module = { exports: {} };
    evaluate(module, module.exports, { ...globals, queueMicrotask }, ...NAMES.map(name => globals[name]));
    return module.exports as Exports;
  };
}

/** A module of Node that has neither clock nor randomness. */
export function requireHarmless(name: string): unknown {
  return requireReal(name);
}
