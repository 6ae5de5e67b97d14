/**
 * Builds the package into dist: one implementation in CommonJS, ES modules that re-export it, and the declarations of what they export.
 * CONTRIBUTING says why ("The package").
 */

import { rmSync } from 'node:fs';
import { writeDeclarations } from './build/declarations.ts';
import { writeJavaScript } from './build/javascript.ts';

rmSync('dist', { recursive: true, force: true });
await Promise.all([writeJavaScript('dist'), writeDeclarations('dist')]);
