/** Builds the package twice with tsc alone: dist/esm for `import`, dist/cjs for `require`. */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
const tsc = join(typescript, 'bin', 'tsc');

rmSync('dist', { recursive: true, force: true });
for (const format of ['esm', 'cjs']) {
  execFileSync(process.execPath, [tsc, '-p', `tsconfig.${format}.json`], { stdio: 'inherit' });
}
// Without it, Node would read dist/cjs as ESM, because the package says "type": "module".
writeFileSync('dist/cjs/package.json', '{ "type": "commonjs" }\n');
