/** Writes the declarations of what the entry points export, with its TSDoc, and of nothing else. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { rollup } from 'rollup';
import { ENTRIES } from './entries.ts';

const require = createRequire(import.meta.url);

export async function writeDeclarations(folder: string): Promise<void> {
  const emitted = mkdtempSync(join(tmpdir(), 'bullmq-once-types-'));
  try {
    emit(emitted);
    await rollUp(emitted, folder);
  } finally {
    rmSync(emitted, { recursive: true });
  }
  // There is one implementation, so there is one type of each class too.
  for (const name of ENTRIES)
    writeFileSync(join(folder, `${name}.d.mts`), `export * from './${name}.cjs';\n`);
}

function emit(outDir: string): void {
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
  const options = ['--emitDeclarationOnly', '--outDir', outDir];
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', ...options], { stdio: 'inherit' });
}

async function rollUp(from: string, to: string): Promise<void> {
  const { dts } = await loadPlugin();
  const bundle = await rollup({
    input: Object.fromEntries(ENTRIES.map(name => [name, join(from, `${name}.d.ts`)])),
    external: source => !source.startsWith('.') && !source.startsWith('/'),
    plugins: [dts()],
    onwarn(warning, warn) {
      // A base class of our own, which nobody needs to name.
      if (!/private shared type exports/.test(warning.message)) warn(warning);
    },
  });
  await bundle.write({
    dir: to,
    format: 'es',
    entryFileNames: '[name].d.cts',
    chunkFileNames: '[name].d.cts',
    minifyInternalExports: false,
    manualChunks: { core: [join(from, 'index.d.ts')] },
  });
}

/**
 * The plugin calls TypeScript's JavaScript API, which TypeScript 7 does not have yet: it gets TypeScript 5.9. The package that the plugin
 * suggests instead, `@typescript/typescript6`, would install its own `tsc` in the place of ours.
 */
function loadPlugin(): Promise<typeof import('rollup-plugin-dts')> {
  require('typescript-5.9');
  require.cache[require.resolve('typescript')] = require.cache[require.resolve('typescript-5.9')];
  return import('rollup-plugin-dts');
}
