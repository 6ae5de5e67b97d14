/** What is in the package: how much, whether tools can read it, and whether its pages link to what is there. */

import { copyFileSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { outputOf, root, run, temporary } from './project.ts';

/** In bytes, and in files. CONTRIBUTING says how they came about ("The package"). */
const LIMITS = { code: 450_000, all: 750_000, files: 60 };

/** What pages link to and the package leaves out. */
const ONLY_IN_A_CLONE = /^(CONTRIBUTING\.md|docs\/board\.png|examples(\/.*)?)$/;

interface Packed {
  readonly filename: string;
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

/** @returns the path of the tarball. */
export function pack(): string {
  run(root, 'npm', 'run', 'build', '--silent');
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', temporary];
  const [packed] = Object.values(JSON.parse(outputOf(root, 'npm', args))) as [Packed];
  checkSize(packed);
  checkLinks(packed.files.map(({ path }) => path));
  const tarball = join(temporary, packed.filename);
  // attw deletes the tarball that it is given.
  const copy = join(temporary, 'copy.tgz');
  copyFileSync(tarball, copy);
  run(root, 'npx', 'publint', 'run', tarball, '--strict');
  run(root, 'npx', 'attw', copy, '--format', 'table-flipped');
  return tarball;
}

function checkSize({ files, size, unpackedSize: all }: Packed): void {
  const inDist = files.filter(({ path }) => path.startsWith('dist/'));
  const code = inDist.reduce((sum, file) => sum + file.size, 0);
  console.log(`${all} bytes in ${files.length} files; code and types: ${code} bytes; packed: ${size} bytes`);
  if (code <= LIMITS.code && all <= LIMITS.all && files.length <= LIMITS.files) return;
  throw new Error(`the package is larger than ${JSON.stringify(LIMITS)}`);
}

function checkLinks(files: readonly string[]): void {
  const dead = files
    .filter(path => path.endsWith('.md'))
    .flatMap(page =>
      [...readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map(([, target]) => posix.join(posix.dirname(page), target as string))
        .filter(target => !files.includes(target) && !ONLY_IN_A_CLONE.test(target))
        .map(target => `${page} → ${target}`),
    );
  if (dead.length > 0) throw new Error(`links to what is not in the package: ${dead.join(', ')}`);
}
