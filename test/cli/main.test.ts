import { expect } from 'chai';
import { readDoc } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { cli } from './run-cli.ts';

const SECRET = 's3cret';

describe('bullmq-once', () => {
  it("ends with 3 where the datastore can't be reached, and never prints a password", async () => {
    const ends = await Promise.all([
      cli('list', '--redis', `redis://user:${SECRET}@127.0.0.1:1`),
      cli('list', '--postgres', `postgres://user:${SECRET}@127.0.0.1:1/db`),
    ]);

    for (const { code, out, err } of ends) {
      expect(code).to.equal(3);
      expect(err).to.match(/^bullmq-once: .*ECONNREFUSED/);
      expect(out + err).not.to.include(SECRET);
    }
  });

  it('ends with 2 where the command line is wrong, and says what would be right', async () => {
    const wrong: [args: string[], error: string][] = [
      [
        ['list', '--redis', `user:${SECRET}@127.0.0.1`],
        '--redis must be a URL such as redis://127.0.0.1:6379',
      ],
      [['lsit'], "there is no command 'lsit'; there are: list, show, why, stats, force-release, watch"],
      [
        ['user:p4ss@127.0.0.1'],
        'there is no command of that name; there are: list, show, why, stats, force-release, watch',
      ],
      [['show'], 'show needs a key'],
      [['show', ''], 'a key is empty'],
      [
        ['list', '--postgres', 'postgres://127.0.0.1/app', '--schema', 'a;b'],
        "PostgresCache: option 'schema' must be a plain name (letters, digits, underscores, at most 63), " +
          "as it must for BullMQ, not 'a;b'",
      ],
      [['show', 'a', 'b'], 'show takes a key, and nothing more'],
      [['list', 'k'], 'list takes no key; did you mean --starts-with?'],
      [['list', '--state', 'held'], "--state must be 'running', 'reserved', 'done' or 'foreign', not 'held'"],
      [['list', '--queue', 'a', '--scope', 'b'], 'give --queue or --scope, not both'],
      [['list', '--nope'], "Unknown option '--nope'"],
      [['watch', '--every', '0'], "--every must be a number of seconds from 0.1 to 86400, not '0'"],
    ];

    const ends = await Promise.all(wrong.map(([args]) => cli(...args)));

    for (const [i, { code, out, err }] of ends.entries()) {
      expect(code, err).to.equal(2);
      expect(err).to.equal(`bullmq-once: ${wrong[i]?.[1]}; see bullmq-once --help\n`);
      expect(out + err).not.to.include(SECRET);
    }
  });

  it('ends with 3 where the datastore takes connections and answers nothing', async () => {
    const server = await RedisServer.start();
    server.freeze();

    const { code, err } = await cli('list', '--redis', server.url);
    server.thaw();
    await server.stop();

    expect({ code, err }).to.deep.equal({ code: 3, err: 'bullmq-once: Command timed out\n' });
  });

  it('prints its help, with a table of exit codes (--help, or no arguments)', async () => {
    const { code, out } = await cli('--help');

    expect(code).to.equal(0);
    expect(out).to.match(/^Shows the locks of bullmq-once/);
    expect(out).to.match(
      /\nExit codes:\n {2}0 {3}.+\n {2}1 {3}.+\n {2}2 {3}.+\n {2}3 {3}.+\n\nWhat to do .+\n$/,
    );
    expect((await cli()).out).to.equal(out);
  });

  it('prints its version (--version)', async () => {
    const { version } = JSON.parse(await readDoc('package.json'));

    expect((await cli('--version')).out).to.equal(`${version}\n`);
  });
});
