import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { redisUrl } from './support/index.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const execute = promisify(execFile);

describe('The demo', () => {
  const stores = { 'on a Redis': [], 'on a PostgreSQL in its own process': ['--embedded'] };

  for (const [store, args] of Object.entries(stores)) {
    it(`hashes a folder by workers of which one is killed, without overlaps or losses (${store})`, async () => {
      const { stdout } = await execute(
        process.execPath,
        ['--import', 'tsx', `${root}examples/demo/demo.ts`, ...args, `${root}src`],
        { env: { ...process.env, REDIS_URL: redisUrl() }, timeout: 150_000 },
      );

      const row = (name: string) => Number(new RegExp(`^\\W*${name}\\W+(\\d+)`, 'm').exec(stdout)?.[1]);
      expect(row('files')).to.be.above(50);
      expect(row('jobs')).to.equal(row('files') * 4);
      expect(row('run') + row('skipped')).to.equal(row('jobs'));
      expect(row('skipped')).to.be.above(0);
      expect(row('reclaimed after the crash')).to.be.above(0);
      expect(row('overlaps')).to.equal(0);
      expect(row('lost')).to.equal(0);
      expect(stdout).to.contain(args.length > 0 ? 'a PostgreSQL in this process' : 'the Redis of REDIS_URL');
    }).timeout(180_000);
  }
});
