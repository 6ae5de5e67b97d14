/** Compiles programs as users do: against the declarations that are published, by each supported version of TypeScript. */

import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeDeclarations } from '../../scripts/build/declarations.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const rightPrograms = join(root, 'test/types/right');
/** A right program with decorators of NestJS, which are legacy ones. */
const nestExample = join(root, 'examples/nestjs');

/** The packages of TypeScript, by version. The newest is the one that compiles this project. */
export const compilers: Readonly<Record<string, string>> = Object.fromEntries(
  ['typescript-5.4', 'typescript-5.9', 'typescript'].map(name => [versionOf(name), name]),
);

export const decoratorSystems = ['standard', 'legacy'] as const;
export type DecoratorSystem = (typeof decoratorSystems)[number];

export interface Diagnostic {
  /** The name of the file, without folders. */
  readonly file: string;
  /** The source from where the compiler points to. */
  readonly at: string;
  readonly text: string;
}

/** The diagnostics of all programs. */
export interface Compilation {
  of(version: string, system: DecoratorSystem): readonly Diagnostic[];
}

/**
 * Compiles right programs and others, by each version and for both systems of decorators.
 * @param others - the programs' sources by the names of their files.
 */
export async function compileAll(others: ReadonlyMap<string, string>): Promise<Compilation> {
  const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-types-'));
  try {
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    // Older versions can't read the sources. They read the declarations, as users do.
    await writeDeclarations(join(folder, 'declarations'));
    mkdirSync(join(folder, 'programs'));
    for (const [name, source] of others) writeFileSync(join(folder, 'programs', name), source);

    const found = new Map<string, readonly Diagnostic[]>();
    for (const system of decoratorSystems) {
      const config = join(folder, `tsconfig.${system}.json`);
      writeFileSync(config, JSON.stringify(configOf(system)));
      for (const [version, compiler] of Object.entries(compilers)) {
        found.set(`${version} ${system}`, diagnosticsIn(await tsc(compiler, config), folder));
      }
    }
    return { of: (version, system) => found.get(`${version} ${system}`) ?? [] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function configOf(system: DecoratorSystem): object {
  return {
    compilerOptions: {
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable'],
      types: ['node'],
      module: 'nodenext',
      moduleResolution: 'nodenext',
      strict: true,
      skipLibCheck: true,
      noEmit: true,
      experimentalDecorators: system === 'legacy',
      paths: { 'bullmq-once': ['./declarations/index.d.mts'] },
    },
    include: ['programs', rightPrograms, ...(system === 'legacy' ? [nestExample] : [])],
  };
}

/** What a compiler prints. */
function tsc(compiler: string, config: string): Promise<string> {
  const command = [join(root, 'node_modules', compiler, 'bin/tsc'), '-p', config, '--pretty', 'false'];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, command, { cwd: dirname(config) }, (error, stdout, stderr) => {
      // It exits with a number if there are diagnostics.
      if (error && typeof error.code !== 'number') reject(error);
      else resolve(stdout + stderr);
    });
  });
}

/** Each begins with `file(line,column): error TS1: `, and goes on in lines that begin with a space. */
function diagnosticsIn(output: string, folder: string): Diagnostic[] {
  return output
    .split(/\n(?=\S)/)
    .filter(text => text.trim() !== '')
    .map(text => {
      const [, file, line, column] = /^(.+)\((\d+),(\d+)\): error/.exec(text) ?? [];
      if (file === undefined) throw new Error(`this is no diagnostic: ${text}`);
      const lines = readFileSync(join(folder, file), 'utf8').split('\n');
      const at = (lines[Number(line) - 1] as string).slice(Number(column) - 1);
      return { file: file.split('/').at(-1) as string, at, text };
    });
}

function versionOf(compiler: string): string {
  const { version } = JSON.parse(readFileSync(join(root, 'node_modules', compiler, 'package.json'), 'utf8'));
  return version.split('.').slice(0, 2).join('.');
}
