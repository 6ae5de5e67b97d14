/** Bundles a program with the package in it, and runs the bundles. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Binaries } from './binaries.ts';
import { createProjectOf, run } from './project.ts';

const PACKAGES = [
  ...['bullmq@6', 'ioredis@6', 'typescript@5.9', '@types/node@20', 'esbuild', 'tsup@8'],
  ...['webpack@5', 'webpack-cli', 'ts-loader'],
  ...['rollup@4', '@rollup/plugin-commonjs', '@rollup/plugin-node-resolve'],
];

/** BullMQ stays outside. */
const ESBUILD = ['bundled.ts', '--bundle', '--platform=node', '--external:bullmq', '--log-level=warning'];

const COMMANDS = [
  ['esbuild', ...ESBUILD, '--format=esm', '--outfile=out/esbuild.mjs'],
  ['esbuild', ...ESBUILD, '--format=cjs', '--outfile=out/esbuild.cjs'],
  ['tsup'],
  ['webpack', '--config', 'webpack.config.cjs'],
  // Rollup reads JavaScript only.
  ['esbuild', 'bundled.ts', '--outfile=out/bundled.mjs', '--log-level=warning'],
  ['rollup', '--config', 'rollup.config.mjs', '--silent'],
];
const BUNDLES = [
  'esbuild.mjs',
  'esbuild.cjs',
  'tsup/bundled.mjs',
  'tsup/bundled.js',
  'webpack.cjs',
  'rollup.mjs',
];

export function checkBundlers(tarball: string, { bun }: Binaries): void {
  const project = createProjectOf('consumer/bundling', tarball, ...PACKAGES);
  for (const command of COMMANDS) run(project, 'npx', ...command);
  run(project, bun, 'build', 'bundled.ts', '--target=bun', '--external=bullmq', '--outfile=out/bun.mjs');
  // A bundle that still needs the package fails now.
  rmSync(join(project, 'node_modules', 'bullmq-once'), { recursive: true });
  for (const bundle of BUNDLES) run(project, process.execPath, join('out', bundle));
  run(project, bun, join('out', 'bun.mjs'));
}
