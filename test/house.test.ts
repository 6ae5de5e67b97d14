/** The folders of src and their order, as CONTRIBUTING describes them. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

/** From bottom to top: a folder imports only from folders before it. The entry files of src come last. */
const FOLDERS = [
  'core',
  'key',
  'events',
  'cache',
  'lock',
  'bullmq',
  'duplicates',
  'guard',
  'admin',
  'cli',
  'board',
  'conformance',
];
const ENTRY = FOLDERS.length;

const root = fileURLToPath(new URL('../src/', import.meta.url));
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'));
const imports = new Map(files.map(file => [file, importsOf(file)]));

/** The files of src that a file imports, `import type` and `export … from` included. */
function importsOf(file: string): string[] {
  const source = readFileSync(join(root, file), 'utf8');
  const found = [...source.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)];
  return found.map(([, path]) => relative(root, resolve(root, dirname(file), path as string)));
}

/** The place of a file's folder from the bottom. */
function floorOf(file: string): number {
  const [folder] = file.split('/');
  return file.includes('/') ? FOLDERS.indexOf(folder as string) : ENTRY;
}

describe('the house', () => {
  it('has the folders that are listed, and no others', () => {
    const folders = readdirSync(root, { withFileTypes: true }).filter(entry => entry.isDirectory());

    expect(folders.map(({ name }) => name)).to.have.members(FOLDERS);
  });

  it('imports only from folders below', () => {
    const upward = [...imports].flatMap(([file, imported]) =>
      imported.filter(one => floorOf(one) > floorOf(file)).map(one => `${file} imports ${one}`),
    );

    expect(upward).to.deep.equal([]);
  });

  it('has no circle of imports, import type included', () => {
    const circles: string[] = [];
    const done = new Set<string>();
    function walk(file: string, path: readonly string[]): void {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      if (done.has(file) || path.includes(file)) return;
      for (const imported of imports.get(file) ?? []) walk(imported, [...path, file]);
      done.add(file);
    }
    for (const file of files) walk(file, []);

    expect(circles).to.deep.equal([]);
  });

  it('has entry files that only export', () => {
    const entries = files.filter(file => floorOf(file) === ENTRY);
    const withCode = entries.filter(file =>
      /^(?!export\b|}|\s|\/\*\*| \*|$)/m.test(readFileSync(join(root, file), 'utf8')),
    );

    expect(entries).to.have.members(['index.ts', 'postgres.ts', 'board.ts', 'conformance.ts']);
    expect(withCode).to.deep.equal([]);
  });

  it('keeps BullMQ and its clients out of everything below the folder bullmq', () => {
    const floor = FOLDERS.indexOf('bullmq');
    const knowing = files.filter(
      file =>
        floorOf(file) < floor &&
        /from '(?:bullmq|ioredis|redis|pg)'/.test(readFileSync(join(root, file), 'utf8')),
    );

    expect(knowing).to.deep.equal([]);
  });
});
