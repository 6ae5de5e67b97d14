/** Compiles a program that uses the package, by each supported TypeScript, in each way in which it finds modules. */

import { spawnSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { createProjectOf } from './project.ts';

/** The program as an ES module, as CommonJS, or as what `--module` says. */
const PROGRAMS = { either: ['types.mts', 'types.cts'], one: ['types.ts'] };

/** How a version is told to find modules. TypeScript 6 calls `node10` deprecated, and TypeScript 7 has it no more. */
const NODE_10 = ['--module', 'commonjs', '--moduleResolution', 'node10', ...PROGRAMS.one];
const BUNDLER = ['--module', 'esnext', '--moduleResolution', 'bundler', ...PROGRAMS.one];
const NODE_16 = ['--module', 'node16', ...PROGRAMS.either];
const NODE_NEXT = ['--module', 'nodenext', ...PROGRAMS.either];
const VERSIONS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  '5.4': [NODE_10, BUNDLER, NODE_16],
  '5.9': [NODE_10, BUNDLER, NODE_NEXT],
  '6': [[...NODE_10, '--ignoreDeprecations', '6.0'], NODE_NEXT],
  '7': [BUNDLER, NODE_NEXT],
};

const STRICTLY = ['--noEmit', '--strict', '--exactOptionalPropertyTypes'];
const LIBRARIES = ['--target', 'es2022', '--lib', 'es2023,esnext.disposable', '--types', 'node'];

export function checkTypes(tarball: string): void {
  const compilers = Object.keys(VERSIONS).map(version => `typescript-${version}@npm:typescript@${version}`);
  const peers = ['bullmq@6', 'ioredis@6', '@types/node@20'];
  const project = createProjectOf('consumer/types', tarball, ...peers, ...compilers);
  for (const extension of ['cts', 'ts']) {
    copyFileSync(join(project, 'types.mts'), join(project, `types.${extension}`));
  }
  for (const [version, ways] of Object.entries(VERSIONS)) {
    for (const args of ways) {
      // The declarations are checked once by each version, with those of all packages, which takes several times as long.
      const isSkipped = args !== ways.at(-1);
      const errors = compile(project, version, [...args, '--skipLibCheck', `${isSkipped}`]);
      if (errors.length === 0) continue;
      throw new Error(`TypeScript ${version}, ${args.join(' ')}:\n${errors.join('\n')}`);
    }
  }
}

/** The errors in the program and in this package. Other packages may have some of their own in an old TypeScript. */
function compile(cwd: string, version: string, args: readonly string[]): string[] {
  const tsc = join('node_modules', `typescript-${version}`, 'bin', 'tsc');
  const all = [tsc, ...STRICTLY, ...LIBRARIES, ...args];
  const { status, stdout } = spawnSync(process.execPath, all, { cwd, encoding: 'utf8' });
  const errors = stdout.split('\n').filter(line => line.includes('error TS'));
  if (status !== 0 && errors.length === 0)
    throw new Error(`TypeScript ${version} ended with ${status}: ${stdout}`);
  return errors.filter(line => !/^node_modules\/(?!bullmq-once\/)/.test(line));
}
