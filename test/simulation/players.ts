/** Plays many histories in several processes. The program that they run is bundled once: as it is written it would run at half the speed. */

import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Violation } from './facts.ts';
import type { LibraryTexts } from './library.ts';

/** What a process is to play: the seeds from `from` on, below `from + count`, each `every`th of them. */
export interface Assignment {
  readonly from: number;
  readonly count: number;
  readonly every: number;
  /** It plays no more once a guarantee was violated. */
  readonly stopsAtFirst: boolean;
}

export interface Found {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

/** What a process sends: a violation, or at last how much it has played. */
export type Report = Found | Played;

/** How much a process has played, and how much time of a core that took. */
export interface Played {
  readonly played: number;
  readonly ms: number;
}

/** Objects live for one history: the less often they are collected, the more of them are garbage by then. Errors are many. */
const NODE_OPTIONS = ['--max-semi-space-size=64', '--stack-trace-limit=0'];

/**
 * Plays histories of some seeds.
 * @param onFound - called with each history that violates a guarantee.
 */
export async function playMany(
  library: LibraryTexts,
  { from, count, stopsAtFirst = false }: { from: number; count: number; stopsAtFirst?: boolean },
  { processes, onFound }: { processes: number; onFound: (found: Found) => void },
): Promise<Played> {
  const folder = await mkdtemp(join(tmpdir(), 'simulation-'));
  try {
    const program = join(folder, 'player.mjs');
    const libraryFile = join(folder, 'library.json');
    await writeFile(libraryFile, JSON.stringify(library));
    await build({
      entryPoints: [fileURLToPath(new URL('./player.ts', import.meta.url))],
      outfile: program,
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
    });
    const children = Array.from({ length: processes }, (_, i) => {
      const assignment = { from: from + i, count: count - i, every: processes, stopsAtFirst };
      return fork(program, [libraryFile, JSON.stringify(assignment)], { execArgv: NODE_OPTIONS });
    });
    const onFoundByOne = (found: Found): void => {
      onFound(found);
      if (stopsAtFirst) for (const child of children) child.kill();
    };
    const reports = await Promise.all(children.map(child => resultOf(child, onFoundByOne)));
    const played = reports.reduce((sum, report) => sum + report.played, 0);
    const ms = reports.reduce((sum, report) => sum + report.ms, 0);
    return { played, ms };
  } finally {
    await rm(folder, { recursive: true });
  }
}

function resultOf(child: ChildProcess, onFound: (found: Found) => void): Promise<Played> {
  return new Promise((resolve, reject) => {
    let result: Played | undefined;
    child.on('message', (report: Report) => {
      if ('seed' in report) onFound(report);
      else result = report;
    });
    child.on('exit', (code, signal) => {
      // It was told to stop.
      if (signal === 'SIGTERM') resolve(result ?? { played: 0, ms: 0 });
      else if (result) resolve(result);
      else reject(new Error(`a process that plays histories ended with ${code ?? signal}`));
    });
  });
}
