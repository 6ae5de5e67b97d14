/**
 * Bundles the library for the simulation. The classes that talk to a real datastore are replaced by one that talks to the simulated one.
 * All else is the code that users get.
 */

import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import type { LibraryTexts } from './library.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** What the simulation needs of the library. */
const GUARD = `
export { onceProcessor } from './src/guard/once-processor.ts';
export { once } from './src/guard/once.ts';
export { Lock } from './src/lock/lock.ts';
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

/**
 * Bundles the library.
 * @param change - breaks it.
 * @throws Error the text to be changed is not in its file exactly once.
 */
export async function bundleLibrary(change?: Change): Promise<LibraryTexts> {
  const [guard, rules] = await Promise.all([bundle(GUARD, change), bundle(RULES, change)]);
  return { guard, rules };
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
