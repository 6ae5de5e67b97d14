/**
 * Writes the JavaScript. Each file is loaded when it is used: `core.cjs` is what `bullmq-once` itself loads; `postgres.cjs`, `board.cjs`,
 * `conformance.cjs` and `cli.cjs` have what each needs beside that.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundle.ts';
import { commonJsOf } from './common-js.ts';
import { CLI, ENTRIES } from './entries.ts';

export async function writeJavaScript(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const file of await bundle()) {
    const { name, exported } = file;
    const path = join(folder, `${name}.cjs`);
    const code = await commonJsOf(file);
    if (name === CLI) writeFileSync(path, `#!/usr/bin/env node\n${code}`, { mode: 0o755 });
    else writeFileSync(path, code);
    if (ENTRIES.includes(name)) writeFileSync(join(folder, `${name}.mjs`), reExport(name, exported));
  }
}

/** All bundlers and runtimes can read this form. */
function reExport(name: string, exported: readonly string[]): string {
  return `export { ${exported.join(', ')} } from './${name}.cjs';\n`;
}
