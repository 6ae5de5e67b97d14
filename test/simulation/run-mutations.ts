/**
 * Shows that broken libraries are found: each of `mutations.ts` by the simulation, or by the test that it names.
 *
 *     npm run test:mutations                  all
 *     npm run test:mutations -- --only fence  those that have this in their name
 */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bundleLibrary } from './bundle.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';
import { type Found, playMany } from './players.ts';

/** Each is found within so many histories. */
const MAX_HISTORIES = 20_000;
/** What the tests need beside the sources. */
const COPIED = ['src', 'test', 'examples', 'docs', 'package.json', 'tsconfig.json', '.mocharc.json'];

const root = fileURLToPath(new URL('../../', import.meta.url));
const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, processes: { type: 'string', default: '2' } },
});

const chosen = MUTATIONS.filter(({ name }) => name.includes(values.only));
if (chosen.length === 0) throw new Error(`no mutation has '${values.only}' in its name`);

let survivors = 0;
for (const mutation of chosen) {
  const how =
    mutation.test === undefined ? await findBySimulation(mutation) : findByTest(mutation, mutation.test);
  if (how === undefined) survivors++;
  console.log(`${mutation.guarantee}. ${mutation.name}: ${how ?? 'NOT FOUND'}`);
}
if (survivors > 0) process.exitCode = 1;

async function findBySimulation(mutation: Mutation): Promise<string | undefined> {
  let first: Found | undefined;
  await playMany(
    await bundleLibrary(mutation),
    { from: 1, count: MAX_HISTORIES, stopsAtFirst: true },
    {
      processes: Number(values.processes),
      onFound(found) {
        first ??= found;
      },
    },
  );
  const [violation] = first?.violations ?? [];
  return (
    first && `seed ${first.seed}, guarantee ${violation?.guarantee}: ${violation?.message.split('\n')[0]}`
  );
}

/** Runs a test on a copy of the project that has the change. */
function findByTest({ file, find, replace }: Mutation, test: string): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'mutation-'));
  try {
    for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    const source = readFileSync(join(root, file), 'utf8');
    if (source.split(find).length !== 2)
      throw new Error(`${file} does not have the text to be changed once:\n${find}`);
    writeFileSync(
      join(folder, file),
      source.replace(find, () => replace),
    );
    const { status, stdout } = spawnSync('npx', ['mocha', test], { cwd: folder, encoding: 'utf8' });
    const failed = /(\d+) failing/.exec(stdout);
    return status !== 0 && failed ? `${test}: ${failed[0]}` : undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
