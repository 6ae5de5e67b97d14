/** The programs that run JavaScript. They come in packages that contain the binary, and download nothing when they are installed. */

import { join } from 'node:path';
import { createProject } from './project.ts';

/** The lines of Node that `engines` promises. */
const NODES = ['20.19.0', '22', '24'];

const { arch, platform } = process;
const NODE = `node-${platform === 'win32' ? 'win' : platform}-${arch}`;
const BUN = `@oven/bun-${platform === 'win32' ? 'windows' : platform}-${arch === 'arm64' ? 'aarch64' : arch}`;
const DENO = `@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}`;

export interface Binaries {
  readonly nodes: readonly string[];
  readonly bun: string;
  readonly deno: string;
}

export function installBinaries(): Binaries {
  const nodes = NODES.map((version, i) => `node${i}@npm:${NODE}@${version}`);
  const folder = join(createProject(...nodes, BUN, DENO), 'node_modules');
  return {
    nodes: NODES.map((_, i) => join(folder, `node${i}`, 'bin', 'node')),
    bun: join(folder, BUN, 'bin', 'bun'),
    deno: join(folder, DENO, 'deno'),
  };
}
