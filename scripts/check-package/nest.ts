/** Runs guarded processors in NestJS: version 11 in CommonJS, tested by ts-jest as its projects are; version 12 in ES modules. */

import { join } from 'node:path';
import type { Binaries } from './binaries.ts';
import { createProjectOf, run } from './project.ts';

const LIBRARIES = ['reflect-metadata', 'rxjs@7', '@types/node@20', 'typescript@5.9'];

function nest(version: number): string[] {
  return ['common', 'core', 'bullmq'].map(name => `@nestjs/${name}@${version}`);
}

export function checkNest(tarball: string, { nodes }: Binaries): void {
  const peers = [...nest(11), 'bullmq@5', 'ioredis@5'];
  const jest = ['jest@30', 'ts-jest@29', '@types/jest@30'];
  const nest11 = createProjectOf('consumer/nest', tarball, ...LIBRARIES, ...peers, ...jest);
  run(nest11, 'npx', 'jest', '--config', 'jest.config.cjs');

  const nest12 = createProjectOf(
    'consumer/nest',
    tarball,
    ...LIBRARIES,
    ...nest(12),
    'bullmq@6',
    'ioredis@6',
  );
  run(nest12, 'npm', 'pkg', 'set', 'type=module');
  run(nest12, 'npx', 'tsc', '-p', '.');
  for (const node of nodes.slice(1)) run(nest12, node, join('out', 'main.js'));
}
