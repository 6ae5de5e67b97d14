/**
 * Checks the package as its users get it: packs it, looks at what is in it, installs it beside everything that it is used with, and runs it
 * there. Nothing of the working copy is used but the tarball and the programs in `test/fixtures`.
 *
 * `npm run check:package -- types bundlers` does these checks alone.
 */

import { rmSync } from 'node:fs';
import { findRedis } from '../test/support/redis-server.ts';
import { installBinaries } from './check-package/binaries.ts';
import { checkBundlers } from './check-package/bundlers.ts';
import { checkLoading } from './check-package/loading.ts';
import { checkNest } from './check-package/nest.ts';
import { temporary } from './check-package/project.ts';
import { checkRunners } from './check-package/runners.ts';
import { checkRuntimes } from './check-package/runtimes.ts';
import { pack } from './check-package/tarball.ts';
import { checkTypes } from './check-package/types.ts';

const CHECKS = {
  loading: checkLoading,
  runtimes: checkRuntimes,
  types: checkTypes,
  runners: checkRunners,
  bundlers: checkBundlers,
  nest: checkNest,
};

const chosen = process.argv.slice(2);
const unknown = chosen.find(name => !(name in CHECKS));
if (unknown) throw new Error(`there is no check '${unknown}'; there are: ${Object.keys(CHECKS).join(', ')}`);

const redis = await findRedis();
process.env.REDIS_URL = redis.url;
try {
  const tarball = pack();
  const binaries = installBinaries();
  for (const [name, check] of Object.entries(CHECKS)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    const start = performance.now();
    check(tarball, binaries);
    console.log(`${name}: ${((performance.now() - start) / 1000).toFixed(0)} s`);
  }
} finally {
  await redis.stop();
  rmSync(temporary, { recursive: true, force: true });
}
console.log('the package works');
