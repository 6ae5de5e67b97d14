/** What a program loads with the package: few files, one copy, nothing that takes long. How long it takes is reported; machines differ. */

import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Binaries } from './binaries.ts';
import { createProjectOf, outputOf, run, temporary } from './project.ts';

const MAX_FILES = 9;
const RUNS = 20;

export function checkLoading(tarball: string, { nodes }: Binaries): void {
  const project = createProjectOf('consumer/loading', tarball, 'bullmq@6', 'ioredis@6', 'pg@8');
  for (const node of nodes) {
    const version = outputOf(project, node, ['--version']).trim();
    run(project, node, 'one-copy.cjs');
    for (const program of ['import.mjs', 'require.cjs']) {
      const files = loadedFiles(project, node, program);
      if (files.length === 0 || files.length > MAX_FILES) throw new Error(`${program} loads ${files.join()}`);
      const times = Array.from({ length: RUNS }, () => Number(outputOf(project, node, [program])));
      const median = times.toSorted((a, b) => a - b)[RUNS / 2] as number;
      console.log(
        `${version} ${program}: ${files.length} files, ${median.toFixed(1)} ms (median of ${RUNS})`,
      );
    }
  }
}

/** The files of the package that a program loads: V8 reports the coverage of each. */
function loadedFiles(project: string, node: string, program: string): string[] {
  const folder = mkdtempSync(join(temporary, 'coverage-'));
  outputOf(project, node, [program], { NODE_V8_COVERAGE: folder });
  return readdirSync(folder)
    .flatMap(file => JSON.parse(readFileSync(join(folder, file), 'utf8')).result as { url: string }[])
    .flatMap(({ url }) => url.split('/node_modules/bullmq-once/')[1] ?? []);
}
