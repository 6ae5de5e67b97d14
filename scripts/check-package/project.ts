/** Projects of users of the package, in temporary folders. */

import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root: string = fileURLToPath(new URL('../../', import.meta.url));
export const temporary: string = mkdtempSync(join(tmpdir(), 'bullmq-once-package-'));

/** A project with these packages. */
export function createProject(...packages: string[]): string {
  const project = mkdtempSync(join(temporary, 'project-'));
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  const quietly = ['--silent', '--no-audit', '--no-fund', '--prefer-offline'];
  run(project, 'npm', 'install', ...quietly, ...packages);
  return project;
}

/** A project with these packages, and with the programs in a folder of `test/fixtures`. */
export function createProjectOf(folder: string, ...packages: string[]): string {
  const project = createProject(...packages);
  cpSync(join(root, 'test', 'fixtures', folder), project, { recursive: true });
  return project;
}

/** @throws Error the command failed. */
export function run(cwd: string, command: string, ...args: string[]): void {
  execFileSync(command, args, { cwd, stdio: 'inherit' });
}

/** What a command prints. */
export function outputOf(
  cwd: string,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): string {
  return execFileSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, ...env } });
}
