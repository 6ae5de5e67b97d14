/**
 * Checks the package as its users get it: packs it, lints the tarball (publint, attw), installs it beside BullMQ 6 and
 * 5, and runs it from `import` and from `require`, on each supported line of Node, and on Bun. The suite that proves
 * caches is run under each test runner that it is for.
 */

import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findRedis } from '../test/support/redis-server.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const consumer = join(root, 'test', 'fixtures', 'consumer');
const temporary = mkdtempSync(join(tmpdir(), 'bullmq-once-package-'));

/** The lines of Node that `engines` promises, by packages that contain the binary and install nothing else. */
const NODES = ['20.19.0', '22', '24'];
const platform = process.platform === 'win32' ? 'win' : process.platform;
/** Bun's binary, without the script that would download it. */
const bun = `@oven/bun-${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch === 'arm64' ? 'aarch64' : process.arch}`;
const PEERS = [
  ['bullmq@6', 'ioredis@6'],
  ['bullmq@5', 'ioredis@5'],
  ['bullmq@5.0.0', 'ioredis@5'],
];

const redis = await findRedis();
try {
  const tarball = pack();
  const nodes = installNodes();
  for (const [i, peers] of PEERS.entries()) check(tarball, peers, nodes, i === 0);
} finally {
  await redis.stop();
  rmSync(temporary, { recursive: true, force: true });
}
console.log('the package works');

function pack(): string {
  run(root, 'npm', 'pack', '--silent', '--pack-destination', temporary);
  const tarball = join(temporary, readdirSync(temporary).find(name => name.endsWith('.tgz')) as string);
  // attw deletes the tarball that it is given.
  const copy = join(temporary, 'copy.tgz');
  copyFileSync(tarball, copy);
  run(root, 'npx', 'publint', 'run', tarball, '--strict');
  run(root, 'npx', 'attw', copy, '--profile', 'node16');
  return tarball;
}

function installNodes(): string[] {
  return NODES.map(version => {
    const folder = project(`node-${version}`);
    const name = `node-${platform}-${process.arch}`;
    run(folder, 'npm', 'install', '--silent', '--no-audit', '--no-fund', `${name}@${version}`);
    return join(folder, 'node_modules', name, 'bin', 'node');
  });
}

function check(
  tarball: string,
  peers: readonly string[],
  nodes: readonly string[],
  withRunners: boolean,
): void {
  console.log(`with ${peers.join(' and ')}`);
  const folder = project(peers.join('-'));
  cpSync(consumer, folder, { recursive: true });
  // The same program, compiled as an ES module and as CommonJS.
  copyFileSync(join(folder, 'types.mts'), join(folder, 'types.cts'));
  const tools = ['typescript@7', '@types/node@20', ...(withRunners ? ['jest@30', 'vitest@4', bun] : [])];
  run(folder, 'npm', 'install', '--silent', '--no-audit', '--no-fund', tarball, ...peers, ...tools);
  run(folder, 'npx', 'tsc', '-p', '.');
  for (const node of nodes) {
    for (const program of ['import.mjs', 'require.cjs']) run(folder, node, program);
    run(folder, node, 'node_modules/bullmq-once/dist/esm/cli/main.js', '--version');
  }
  if (!withRunners) return;
  run(folder, 'npx', 'jest', 'consumer.test.js');
  run(folder, 'npx', 'vitest', 'run', 'conformance.spec.mjs');
  for (const node of nodes) run(folder, node, '--test', '--test-reporter', 'dot', 'node-test.mjs');
  const bunBinary = join(folder, 'node_modules', ...bun.split('/'), 'bin', 'bun');
  run(folder, bunBinary, 'import.mjs');
  run(folder, bunBinary, 'test', './bun.mjs');
}

function project(name: string): string {
  const folder = mkdtempSync(join(temporary, `${name.replace(/\W/g, '-')}-`));
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  return folder;
}

function run(cwd: string, command: string, ...args: string[]): void {
  execFileSync(command, args, { cwd, stdio: 'inherit', env: { ...process.env, REDIS_URL: redis.url } });
}
