/** Bundles the sources into one file for each entry point, and one for what they share. */

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { build, type Metafile, type Plugin } from 'esbuild';
import { CLI, ENTRIES } from './entries.ts';

/** A file of dist, as an ES module. */
export interface BundledFile {
  /** Its name, without an extension. */
  readonly name: string;
  readonly code: string;
  readonly exported: readonly string[];
}

/** esbuild shares code between files only in ES modules. They import each other as `./<name>.cjs`. */
export async function bundle(): Promise<BundledFile[]> {
  const { outputFiles, metafile } = await build({
    entryPoints: Object.fromEntries([...ENTRIES, CLI].map(name => [name, `${ENTRY}${name}`])),
    plugins: [entries, postgresLater, fixedVersion, luaWithoutComments, sqlWithoutHeads],
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    packages: 'external',
    // An entry imports the core for its effects, and package.json says that there are none.
    ignoreAnnotations: true,
    legalComments: 'none',
    charset: 'utf8',
    outdir: 'dist',
    write: false,
    metafile: true,
  });
  const outputs = new Map(Object.entries(metafile.outputs).map(([path, output]) => [basename(path), output]));
  const nameOf = (file: string): string => nameOfOutput(outputs.get(file) as Output);
  return outputFiles.map(({ path, text }) => ({
    name: nameOf(basename(path)),
    code: text.replace(/"\.\/([\w-]+\.js)"/g, (_, file) => `"./${nameOf(file)}.cjs"`),
    exported: outputs.get(basename(path))?.exports.toSorted() ?? [],
  }));
}

type Output = Metafile['outputs'][string];

/** @throws Error esbuild has made a file that has no name here: several entries share something that is not in the core. */
function nameOfOutput({ entryPoint, inputs }: Output): string {
  if (entryPoint) return entryPoint.slice(ENTRY.length);
  if ('src/guard/once-processor.ts' in inputs) return 'core';
  throw new Error(
    `an unexpected file in dist, of ${Object.keys(inputs).join(', ')}: add what is shared to CORE`,
  );
}

const ENTRY = 'entry:';

/** What no file has a copy of its own of: all that `bullmq-once` loads, and what board and command line share. */
const CORE = ['index', 'admin/describe-duplicate'];

/** Each entry imports all of the core. So all entries share it, and it becomes one file. */
const entries: Plugin = {
  name: 'entries',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^entry:/ }, ({ path }) => ({ path: path.slice(ENTRY.length), namespace: 'entry' }));
    onLoad({ filter: /.*/, namespace: 'entry' }, ({ path: name }) => {
      const core = CORE.map(file => `import './src/${file}.ts';\n`).join('');
      const file = name === CLI ? 'cli/main' : name;
      return { contents: `${core}export * from './src/${file}.ts';`, resolveDir: '.' };
    });
  },
};

/** Where PostgreSQL is loaded only when it is used, it is loaded from the file of its entry point. */
const postgresLater: Plugin = {
  name: 'postgres-later',
  setup({ onResolve }) {
    onResolve({ filter: /\/postgres-cache\.ts$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: 'postgres', namespace: 'entry' } : undefined,
    );
  },
};

const fixedVersion: Plugin = {
  name: 'fixed-version',
  setup({ onLoad }) {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    onLoad({ filter: /\/cli\/version\.ts$/ }, () => ({
      contents: `export const packageVersion = () => ${JSON.stringify(version)};`,
    }));
  },
};

/** Redis keeps the text of each script. A quarter of ours are comments and indents. */
const luaWithoutComments: Plugin = {
  name: 'lua-without-comments',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/(cache\/redis|bullmq)\/[\w-]+\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8')
        .replace(/^ +/gm, '')
        .replace(/^--.*\n/gm, ''),
      loader: 'ts',
    }));
  },
};

/** PostgreSQL keeps the comments within a function, and not those before it. */
const sqlWithoutHeads: Plugin = {
  name: 'sql-without-heads',
  setup({ onLoad }) {
    onLoad({ filter: /\/src\/cache\/postgres\/[\w-]+\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/^--.*\n/gm, ''),
      loader: 'ts',
    }));
  },
};
