import { once } from 'node:events';
import { expect } from 'chai';
import { Bench } from '../../support/bullmq.ts';
import { redisUrl, until } from '../../support/index.ts';
import { OwnScope, startCli } from '../run-cli.ts';

describe('bullmq-once watch', () => {
  it('lists the locks again and again, with their lines, until it is stopped', async () => {
    const own = new OwnScope();
    const handle = await own.hold('watched');
    const child = startCli('watch', ...own.args, '--every', '0.1');
    let out = '';
    child.stdout.on('data', data => {
      out += data;
    });

    await until(() => out.match(/watched/g)?.length === 2);
    const parked = await own.enter('watched', 'bull:emails:18@1790000000000');
    await until(() => out.includes('1 parked, next: job 18 of emails'));
    await own.cache.strikeOut([parked]);
    await handle.release();
    await until(() => out.endsWith('no locks are held\n'));
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');

    expect(code).to.equal(0);
    own.close();
  });

  it('hints at the scope where no locks of a queue are held', async () => {
    const bench = await Bench.open();
    const child = startCli('watch', '--queue', bench.queueName, '--redis', redisUrl(), '--every', '0.1');
    let out = '';
    child.stdout.on('data', data => {
      out += data;
    });

    await until(() =>
      out.includes('no locks are held (locks of a scope: give --scope instead of --queue)\n'),
    );
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');

    expect(code).to.equal(0);
    await bench.close();
  });
});
