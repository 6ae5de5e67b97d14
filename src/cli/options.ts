/** The options of the command line, parsed by one table. */

import { parseArgs } from 'node:util';
import { LISTED_STATES, type ListedState } from '../admin/lock-admin.ts';
import {
  flag,
  nearestTo,
  oneOf,
  optional,
  type Parser,
  show,
  text,
  withDefault,
} from '../core/validation.ts';
import { UsageError } from './usage-error.ts';

/** The options by their names on the command line. */
export interface Options {
  readonly redis: string | undefined;
  readonly cluster: boolean;
  readonly postgres: string | undefined;
  readonly schema: string | undefined;
  readonly queue: string | undefined;
  readonly prefix: string;
  readonly scope: string | undefined;
  readonly 'starts-with': string;
  readonly state: ListedState | undefined;
  readonly json: boolean;
  /** `force-release` does not ask first. */
  readonly yes: boolean;
  /** The interval of `watch`, in ms. */
  readonly every: number;
}

/** The command line as words: options are not parsed yet. */
export interface Words {
  readonly values: { readonly [option: string]: string | boolean | undefined };
  readonly positionals: readonly string[];
}

/** @throws UsageError an option is unknown, or lacks its value. */
export function readWords(given: readonly string[]): Words {
  try {
    const options = { ...TABLE, help: withoutValue(), version: withoutValue() };
    return parseArgs({ args: [...given], allowPositionals: true, options });
  } catch (error) {
    // Node adds advice about positional arguments, which are keys here.
    const message = (error as TypeError).message.replace(/\. To specify a positional.*$/s, '');
    const [, unknown = ''] = /^Unknown option '--([^']*)'/.exec(message) ?? [];
    const meant = nearestTo(unknown, Object.keys(TABLE));
    throw new UsageError(meant === undefined ? message : `${message}; did you mean --${meant}?`);
  }
}

/** @throws UsageError an option has a wrong value. */
export function parseOptionValues(values: Words['values']): Options {
  try {
    const parsed = Object.entries(TABLE).map(([name, { parse }]) => [name, parse(values[name], `--${name}`)]);
    return Object.fromEntries(parsed);
  } catch (error) {
    throw new UsageError((error as TypeError).message);
  }
}

/** Any text, the empty one included. */
const anyText: Parser<string> = value => value as string;

/** A number of seconds, in ms. */
const seconds: Parser<number> = (value, option) => {
  const ms = Number(value) * 1000;
  if (ms >= 100 && ms <= 86_400_000) return ms;
  throw new TypeError(`${option} must be a number of seconds from 0.1 to 86400, not ${show(value)}`);
};

/** What `parseArgs` must know of an option, and the parser of its value. */
interface Option<Value> {
  readonly type: 'string' | 'boolean';
  readonly parse: Parser<Value>;
}

const TABLE: { readonly [Name in keyof Options]: Option<Options[Name]> } = {
  redis: withValue(optional(anyText)),
  cluster: withoutValue(),
  postgres: withValue(optional(anyText)),
  schema: withValue(optional(text)),
  queue: withValue(optional(text)),
  prefix: withValue(withDefault('bull', anyText)),
  scope: withValue(optional(text)),
  'starts-with': withValue(withDefault('', anyText)),
  state: withValue(optional(oneOf(LISTED_STATES))),
  json: withoutValue(),
  yes: withoutValue(),
  every: withValue(withDefault(1000, seconds)),
};

function withValue<Value>(parse: Parser<Value>): Option<Value> {
  return { type: 'string', parse };
}

function withoutValue(): Option<boolean> {
  return { type: 'boolean', parse: withDefault(false, flag) };
}
