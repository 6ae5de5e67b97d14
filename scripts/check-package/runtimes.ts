/** Runs the package on each supported Node, on Bun and on Deno, and beside each supported BullMQ. */

import type { Binaries } from './binaries.ts';
import { createProjectOf, run } from './project.ts';

const PEERS = [
  ['bullmq@6', 'ioredis@6'],
  ['bullmq@5', 'ioredis@5'],
  ['bullmq@5.0.0', 'ioredis@5'],
];
const PROGRAMS = ['import.mjs', 'require.cjs'];

export function checkRuntimes(tarball: string, { nodes, bun, deno }: Binaries): void {
  for (const [i, peers] of PEERS.entries()) {
    const project = createProjectOf('consumer/running', tarball, ...peers);
    for (const node of nodes) {
      for (const program of PROGRAMS) run(project, node, program);
      run(project, node, 'node_modules/bullmq-once/dist/cli.cjs', '--version');
    }
    if (i > 0) continue;
    for (const node of nodes) run(project, node, '--test', '--test-reporter', 'dot', 'node-test.mjs');
    for (const program of PROGRAMS) run(project, bun, program);
    run(project, bun, 'test', './bun.mjs');
    for (const program of PROGRAMS) run(project, deno, 'run', '--allow-all', '--no-remote', program);
  }
}
