import { expect } from 'chai';
import { readArguments } from '../../src/cli/arguments.ts';
import { connect } from '../../src/cli/connect.ts';
import { type Failure, failureOf } from '../../src/cli/failure.ts';
import { withoutSecrets, withoutUrls } from '../../src/cli/secrets.ts';
import { rejection } from '../support/index.ts';
import { cli } from './run-cli.ts';

/** No message of a datastore or of the command line has these in it. */
const [FIRST, SECOND] = ['xyzzy', 'plugh'];

/** How a command that can't connect ends. */
async function failureOfCommand(words: string[]): Promise<Failure> {
  const error = await rejection(
    (async () => {
      const args = readArguments(words, {});
      if (typeof args === 'object') await connect(args.datastore);
    })(),
  );
  return failureOf(error, words);
}

describe('a password on the command line of bullmq-once', () => {
  it('is never printed, not even in part, where the URL is malformed', async () => {
    const urls = [
      `redis://:${FIRST}@${SECOND}/word@127.0.0.1:1`,
      `redis://:${FIRST}/${SECOND}@127.0.0.1:1`,
      `redis://u:12?${FIRST}@127.0.0.1:1`,
      `redis://u:12#${FIRST}@127.0.0.1:1`,
      `redis://u:${FIRST}%zz${SECOND}@127.0.0.1:1`,
      `redis://:${FIRST} ${SECOND}@127.0.0.1:1`,
      `redis://:${FIRST}@127.0.0.1:1 ${SECOND}`,
      `redis://:${FIRST}@[::1]:1`,
      `redis://:${FIRST}@::1:1`,
      `redis:${FIRST}:${SECOND}@127.0.0.1:1`,
      `${FIRST}:${SECOND}@127.0.0.1:1`,
      `//:${FIRST}@127.0.0.1:1`,
      `redis://127.0.0.1:1?password=${FIRST}`,
    ];
    const postgresUrls = [
      `postgres://u:${FIRST}%zz${SECOND}@127.0.0.1:1`,
      `postgres://u:${FIRST}%ff@127.0.0.1:1/db`,
      `postgres://u:${FIRST}@${SECOND}/word@127.0.0.1:1/db`,
      `postgres://u:${FIRST} ${SECOND}@127.0.0.1:1/db`,
      `postgres://u:${FIRST}@/db?host=/nowhere`,
      `postgres://u:${FIRST}@[::1]:1/db`,
      `postgres:u:${FIRST}@127.0.0.1:1/db`,
      `u:${FIRST}@127.0.0.1:1/db`,
    ];
    const commands = [
      ...urls.map(url => ['list', '--redis', url]),
      ...postgresUrls.map(url => ['list', `--postgres=${url}`]),
      [`redis://:${FIRST}@127.0.0.1:1`, 'list'],
      [`${FIRST}:${SECOND}@127.0.0.1:1`],
      [`--redis://:${FIRST}@127.0.0.1:1`, 'list'],
      ['list', '--every', `redis://:${FIRST}@127.0.0.1:1`],
    ];

    for (const command of commands) {
      const { code, message } = await failureOfCommand(command);

      expect(code, command.join(' ')).to.be.oneOf([2, 3]);
      expect(message, command.join(' ')).not.to.match(new RegExp(`${FIRST}|${SECOND}`, 'i'));
    }
  });

  it('is refused with what to write instead, where it makes a URL that can be read in two ways', async () => {
    const { code, err } = await cli('list', '--redis', 'redis://:p@ss/word@host');

    expect(code).to.equal(2);
    expect(err).to.equal(
      'bullmq-once: --redis must be a URL such as redis://127.0.0.1:6379; in a user name or password write ' +
        "'%', '@', '/', '?' and '#' as %25, %40, %2F, %3F and %23; see bullmq-once --help\n",
    );
  });

  it('is hidden in what a server or driver quotes, encoded and decoded', () => {
    const words = ['list', '--redis=redis://me:p%40ss%2Fword@host', 'postgres://u:a.b@/db?host=/run'];
    const quoted =
      "unknown command 'HELLO', with args: '3' 'AUTH' 'me' 'p@ss/word' p%40ss%2Fword a.b axb tab";

    expect(withoutSecrets(quoted, words)).to.equal(
      "unknown command 'HELLO', with args: '3' 'AUTH' 'me' '***' *** *** axb tab",
    );
  });

  it('is hidden with its URL, and a key that is a URL is not', () => {
    const words = ['redis://:secret@host', 'feed-https://example.org'];

    const message = withoutUrls("'redis://:secret@host' or 'feed-https://example.org'", words);

    expect(message).to.equal("'***' or 'feed-https://example.org'");
  });
});
