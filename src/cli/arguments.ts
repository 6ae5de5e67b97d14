/** Parses the command line: a command, its keys and options. */

import { type Datastore, parseDatastore } from './datastore.ts';
import { type Options, parseOptionValues, readWords, type Words } from './options.ts';
import { UsageError } from './usage-error.ts';

export interface Arguments extends Options {
  readonly command: Command;
  /** Exactly one for `show`, one or more for `force-release`, the id of a job for `why`, none for the others. */
  readonly keys: readonly string[];
  readonly datastore: Datastore;
}

export type Command = 'list' | 'show' | 'why' | 'stats' | 'force-release' | 'watch';

/** How many keys each command takes. */
const KEYS: Readonly<Record<Command, { readonly min: number; readonly max: number }>> = {
  list: { min: 0, max: 0 },
  show: { min: 1, max: 1 },
  why: { min: 1, max: 1 },
  stats: { min: 0, max: 0 },
  'force-release': { min: 1, max: Number.POSITIVE_INFINITY },
  watch: { min: 0, max: 0 },
};

/**
 * @param given - the arguments after the program's name.
 * @returns `'help'` or `'version'` where one of them was asked for, or nothing was given.
 * @throws UsageError the command line is wrong.
 */
export function readArguments(
  given: readonly string[],
  environment: { readonly REDIS_URL?: string | undefined },
): Arguments | 'help' | 'version' {
  const { values, positionals } = readWords(given);
  if (values.help || given.length === 0) return 'help';
  if (values.version) return 'version';
  const [command, ...keys] = positionals;
  if (!isCommand(command)) {
    const commands = Object.keys(KEYS).join(', ');
    throw new UsageError(`there is no command${nameOf(command)}; there are: ${commands}`);
  }
  checkKeys(command, keys);
  checkOptions(command, values);
  const options = parseOptionValues(values);
  if (options.queue !== undefined && options.scope !== undefined) {
    throw new UsageError('give --queue or --scope, not both');
  }
  if (OF_A_QUEUE.includes(command) && options.queue === undefined) {
    throw new UsageError(`${command} needs --queue`);
  }
  return { ...options, command, keys, datastore: parseDatastore(options, environment) };
}

/** The options that only some commands take. */
const ONLY_OF: { readonly [Option in keyof Options]?: readonly Command[] } = {
  'starts-with': ['list', 'watch'],
  state: ['list', 'watch'],
  yes: ['force-release'],
  every: ['watch'],
};

function checkOptions(command: Command, values: Words['values']): void {
  for (const [option, commands] of Object.entries(ONLY_OF)) {
    if (values[option] === undefined || commands.includes(command)) continue;
    throw new UsageError(`${command} takes no --${option}; it is for ${commands.join(' and ')}`);
  }
}

/** What these commands read is kept of a queue. */
const OF_A_QUEUE: readonly Command[] = ['why', 'stats'];

function isCommand(word: string | undefined): word is Command {
  return word !== undefined && Object.hasOwn(KEYS, word);
}

/** A word that is no name is not shown: it may be a URL, and contain a password. */
function nameOf(word = ''): string {
  return /^[a-z-]+$/i.test(word) ? ` '${word}'` : ' of that name';
}

function checkKeys(command: Command, keys: readonly string[]): void {
  const { min, max } = KEYS[command];
  const what = command === 'why' ? "a job's id" : 'a key';
  if (keys.length < min) throw new UsageError(`${command} needs ${what}`);
  if (keys.includes('')) throw new UsageError(`${what} is empty`);
  if (keys.length <= max) return;
  throw new UsageError(
    max === 0
      ? `${command} takes no key; did you mean --starts-with?`
      : `${command} takes ${what}, and nothing more`,
  );
}
