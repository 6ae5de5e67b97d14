/** What a library costs before it does anything: the time to import it, its size on disk, its dependencies. */

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Contender, measure, type Summary } from '../measure.ts';
import { BENCH } from '../paths.ts';
import { type Report, table, whole } from '../report.ts';
import type { Settings } from '../settings.ts';

const MODULES = fileURLToPath(new URL('node_modules', BENCH));
const LIBRARIES = [
  'bullmq-once',
  'redlock',
  '@sesamecare-oss/redlock',
  'redis-semaphore',
  'redlock-universal',
];

export async function packages({ rounds, scale }: Settings): Promise<Report> {
  const nothing: Contender = { name: 'nothing', run: async () => ({ ms: await start() }) };
  const contenders = LIBRARIES.map(
    (name): Contender => ({ name, run: async () => ({ ms: await start(name) }) }),
  );
  const [floor, ...measured] = await measure([nothing, ...contenders], Math.ceil((rounds * 4) / scale));
  const floorMs = floor?.figures.ms?.median ?? Number.NaN;
  const rows = measured.map(({ name, figures }) => {
    const { median, spread } = figures.ms as Summary;
    const closure = dependenciesOf(name);
    const bytes = [...closure].reduce((sum, folder) => sum + sizeOf(folder), 0);
    return [
      name,
      { text: (median - floorMs).toFixed(1), spread: (spread * median) / (median - floorMs) },
      `${Math.round(bytes / 1024)} KiB`,
      String(closure.size - 1),
    ];
  });
  return [
    '## Before the first lock',
    `Importing nothing takes ${whole(floorMs)} ms, which is subtracted. Sizes include all run-time dependencies, but no peers: BullMQ and its client are there already.`,
    table(['', 'ms to import', 'installed', 'run-time dependencies'], rows),
  ];
}

async function start(name?: string): Promise<number> {
  const before = performance.now();
  const program = name ? `await import('${name}')` : '';
  execFileSync(process.execPath, ['--input-type=module', '-e', program], { cwd: join(MODULES, '..') });
  return performance.now() - before;
}

/** The folders of a package and of all that it needs to run. */
function dependenciesOf(name: string, from: string = MODULES, found: Set<string> = new Set()): Set<string> {
  const folder = [join(from, 'node_modules', name), join(MODULES, name)].find(existsSync);
  if (!folder || found.has(folder)) return found;
  found.add(folder);
  const { dependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  for (const dependency of Object.keys(dependencies)) dependenciesOf(dependency, folder, found);
  return found;
}

/** The size of what is published of a package. This one is a link to the whole repository, so npm is asked. */
function sizeOf(folder: string): number {
  if (folder.endsWith('bullmq-once')) {
    const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: folder });
    const [first] = Object.values(JSON.parse(packed.toString())) as { unpackedSize: number }[];
    return first?.unpackedSize ?? Number.NaN;
  }
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
