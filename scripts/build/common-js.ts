/** Makes CommonJS of a bundled file, and makes it shorter. */

import { type TransformOptions, transform } from 'esbuild';
import type { BundledFile } from './bundle.ts';

const OPTIONS: TransformOptions = { platform: 'node', target: 'node20.19', charset: 'utf8' };

export async function commonJsOf({ code, exported }: BundledFile): Promise<string> {
  const { code: commonJs } = await transform(code, {
    ...OPTIONS,
    format: 'cjs',
    // Jest can't run `import()` in CommonJS.
    supported: { 'dynamic-import': false },
    minifySyntax: true,
  });
  // The last line is never executed. Node reads the names of the exports there, before it runs the file.
  return `${await shorten(withoutRequire(commonJs))}0&&(module.exports={${exported.join()}});\n`;
}

/** esbuild can put this into a bundle of ES modules. There is no `require` there, and it leaves those of Node's own modules alone. */
function withoutRequire(code: string): string {
  return code.replaceAll(/\brequire\("(node:[\w/]+)"\)/g, 'process.getBuiltinModule("$1")');
}

/**
 * Shortens whitespace and the names of local variables. The names of functions, classes and methods stay, for stack traces: without a format
 * esbuild leaves the names at the top of a file alone. Lines are short because Node prints the line of an error that nobody catches.
 */
async function shorten(code: string): Promise<string> {
  if (code.includes(CONTINUED_LINE)) throw new Error('a line of a string ends in a backslash');
  const { code: short } = await transform(code, {
    ...OPTIONS,
    minifyWhitespace: true,
    minifyIdentifiers: true,
    lineLimit: 120,
  });
  // Tools that look for `require("./core.cjs")` need whole strings.
  return short.replaceAll(CONTINUED_LINE, '');
}

const CONTINUED_LINE = '\\\n';
