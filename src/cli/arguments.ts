/** What the command line was told. */

import { parseArgs } from 'node:util';

export const COMMANDS = ['list', 'show', 'release', 'watch'] as const;
export type Command = (typeof COMMANDS)[number];

export interface Arguments {
  readonly command: Command;
  readonly keys: readonly string[];
  readonly where: Where;
  readonly queue: string | undefined;
  readonly scope: string | undefined;
  readonly startsWith: string;
  readonly state: 'running' | 'done' | 'foreign' | undefined;
  readonly json: boolean;
  readonly yes: boolean;
  /** How often `watch` looks, in ms. */
  readonly every: number;
}

/** Where the locks are. */
export type Where =
  | { readonly redis: string; readonly cluster: boolean; readonly prefix: string }
  | { readonly postgres: string; readonly schema: string | undefined };

/** The command line makes no sense. The message says what would. */
export class UsageError extends Error {}

export const HELP = `Looks at the locks of bullmq-once, and lets them go by hand.

  bullmq-once list                 the locks that are held
  bullmq-once show <key>           one of them
  bullmq-once release <key>...     lets go of them, whoever holds them; asks first
  bullmq-once watch                the locks that are held, again and again

Where they are:
  --redis <url>          a Redis; else the environment variable REDIS_URL, else redis://127.0.0.1:6379
  --cluster              it is a node of a Redis Cluster
  --postgres <url>       a PostgreSQL
  --schema <name>        of its table once_lock (bullmq)

Which of them:
  --queue <name>         those of a queue
  --prefix <name>        BullMQ's prefix of that queue, on Redis (bull)
  --scope <name>         those of a scope
  --starts-with <text>   those whose keys begin so
  --state <state>        running, done (kept after a success), or foreign (no lock's)

How:
  --json                 one line of JSON a lock
  --yes                  release without asking
  --every <seconds>      how often watch looks (1)
  --help, --version

It ends with 0 when all is well, with 1 when no such lock is held or it was not to be let go of, with 2 when it does not
understand what it was told, and with 3 when it can't reach the locks.
`;

/**
 * @param given - the arguments after the program's name.
 * @returns `'help'` or `'version'` where that was asked for.
 * @throws UsageError they make no sense.
 */
export function readArguments(
  given: readonly string[],
  environment: { readonly REDIS_URL?: string | undefined },
): Arguments | 'help' | 'version' {
  const { values, positionals } = parse(given);
  if (values.help || given.length === 0) return 'help';
  if (values.version) return 'version';
  const [command, ...keys] = positionals;
  if (!isCommand(command)) {
    throw new UsageError(`there is no command '${command ?? ''}'; there are: ${COMMANDS.join(', ')}`);
  }
  const { queue, scope, state, every = '1' } = values;
  if (queue !== undefined && scope !== undefined) throw new UsageError('give --queue or --scope, not both');
  if (state !== undefined && state !== 'running' && state !== 'done' && state !== 'foreign') {
    throw new UsageError(`--state must be running, done or foreign, not '${state}'`);
  }
  const takesKeys = command === 'show' || command === 'release';
  if (takesKeys && keys.length === 0) throw new UsageError(`${command} needs a key`);
  if (!takesKeys && keys.length > 0)
    throw new UsageError(`${command} takes no key; did you mean --starts-with?`);
  if (command === 'show' && keys.length > 1) throw new UsageError('show takes one key');
  return {
    command,
    keys,
    where: whereFrom(values, environment),
    queue,
    scope,
    startsWith: values['starts-with'] ?? '',
    state,
    json: values.json ?? false,
    yes: values.yes ?? false,
    every: msFrom(every),
  };
}

function parse(given: readonly string[]) {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({
      args: [...given],
      allowPositionals: true,
      options: {
        ...{
          redis: text,
          cluster: flag,
          postgres: text,
          schema: text,
          queue: text,
          prefix: text,
          scope: text,
        },
        ...{
          'starts-with': text,
          state: text,
          every: text,
          json: flag,
          yes: flag,
          help: flag,
          version: flag,
        },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message.replace(/\. To specify a positional.*$/s, ''));
  }
}

interface Places {
  readonly redis?: string | undefined;
  readonly cluster?: boolean | undefined;
  readonly prefix?: string | undefined;
  readonly postgres?: string | undefined;
  readonly schema?: string | undefined;
}

function whereFrom(
  { redis, cluster = false, prefix = 'bull', postgres, schema }: Places,
  { REDIS_URL }: { readonly REDIS_URL?: string | undefined },
): Where {
  if (redis !== undefined && postgres !== undefined)
    throw new UsageError('give --redis or --postgres, not both');
  if (postgres !== undefined)
    return { postgres: checkUrl(postgres, '--postgres', /^postgres(ql)?:$/), schema };
  const from = redis === undefined && REDIS_URL ? 'REDIS_URL' : '--redis';
  const url = redis ?? (REDIS_URL || 'redis://127.0.0.1:6379');
  return { redis: checkUrl(url, from, /^rediss?:$/), cluster, prefix };
}

/** Says nothing of the URL itself: it may have a password in it. */
function checkUrl(url: string, from: string, protocol: RegExp): string {
  if (URL.canParse(url) && protocol.test(new URL(url).protocol)) return url;
  const example = from === '--postgres' ? 'postgres://127.0.0.1/app' : 'redis://127.0.0.1:6379';
  throw new UsageError(`${from} must be a URL such as ${example}`);
}

function msFrom(seconds: string): number {
  const ms = Number(seconds) * 1000;
  if (seconds.trim() !== '' && ms >= 100 && ms <= 86_400_000) return ms;
  throw new UsageError(`--every must be a number of seconds, 0.1 or more, not '${seconds}'`);
}

function isCommand(text: string | undefined): text is Command {
  return (COMMANDS as readonly (string | undefined)[]).includes(text);
}
