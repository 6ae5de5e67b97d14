/** Runs the package, and the suite that proves caches, under each test runner that it is for. */

import type { Binaries } from './binaries.ts';
import { createProjectOf, run } from './project.ts';

export function checkRunners(tarball: string, _: Binaries): void {
  const runners = ['jest@30', 'ts-jest@29', '@types/jest@30', 'vitest@4', 'typescript@5.9', '@types/node@20'];
  const project = createProjectOf('consumer/running', tarball, 'bullmq@6', 'ioredis@6', ...runners);
  run(project, 'npx', 'jest', '--config', 'jest.config.cjs');
  run(project, 'npx', 'vitest', 'run', '--config', 'vitest.config.mjs');
}
