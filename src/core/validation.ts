/** Parses options where they are written: one table of parsers for each function that takes options. */

import { listed, shown } from './printable.ts';

/**
 * Reads the value of one option, `undefined` where it was left out.
 * @param option - how errors name it: `Lock: option 'ttl'`.
 * @throws TypeError it is not a value that the option takes.
 */
export type Parser<Value> = (value: unknown, option: string) => Value;

/** What a table of parsers makes of options. */
export type Parsed<Table extends Record<string, Parser<unknown>>> = {
  readonly [Option in keyof Table]: ReturnType<Table[Option]>;
};

/**
 * Parses options by a table with a parser for each.
 * @param of - the function whose options they are, for errors.
 * @throws TypeError it is no object, an option is unknown, or has a wrong value.
 */
export function parseOptions<Table extends Record<string, Parser<any>>>(
  of: string,
  options: unknown,
  table: Table,
): Parsed<Table> {
  if (Object.prototype.toString.call(options) !== '[object Object]') {
    throw new TypeError(`${of}: the options must be an object, not ${show(options)}`);
  }
  const given = options as Record<string, unknown>;
  const unknown = Object.keys(given).find(name => !Object.hasOwn(table, name));
  if (unknown !== undefined) {
    const names = Object.keys(table);
    const meant = nearestTo(unknown, names);
    const hint = meant === undefined ? '' : ` (did you mean '${meant}'?)`;
    throw new TypeError(
      `${of}: there is no option '${shown(unknown)}'${hint}; there are: ${names.join(', ')}`,
    );
  }
  const parsed = Object.entries(table).map(([name, parse]) => [
    name,
    parse(given[name], `${of}: option '${name}'`),
  ]);
  return Object.fromEntries(parsed) as Parsed<Table>;
}

/** The name that a misspelt one is for: in other letters of the alphabet's two cases, or with some left out or added at its end. */
export function nearestTo(misspelt: string, names: readonly string[]): string | undefined {
  const given = misspelt.toLowerCase();
  const isAlike = (name: string): boolean => name.startsWith(given) || given.startsWith(name);
  return given === '' ? undefined : names.find(name => isAlike(name.toLowerCase()));
}

/** An option that may be left out. */
export function optional<Value>(parse: Parser<Value>): Parser<Value | undefined> {
  return (value, option) => (value === undefined ? undefined : parse(value, option));
}

/** An option with a default. */
export function withDefault<Value>(byDefault: Value, parse: Parser<Value>): Parser<Value> {
  return (value, option) => (value === undefined ? byDefault : parse(value, option));
}

/**
 * A whole number of milliseconds.
 * @param alternatives - what else the option takes, for the error.
 */
export function ms(min: number, alternatives?: string): Parser<number> {
  const or = alternatives ? ` or ${alternatives},` : '';
  return (value, option) => {
    if (isWholeNumber(value, min)) return value;
    throw new TypeError(
      `${option} must be a whole number of milliseconds, ${min} or more,${or} not ${show(value)}`,
    );
  };
}

/** A whole number, 0 or more. */
export const count: Parser<number> = (value, option) => {
  if (isWholeNumber(value, 0)) return value;
  throw new TypeError(`${option} must be a whole number, 0 or more, not ${show(value)}`);
};

export const flag: Parser<boolean> = (value, option) => {
  if (typeof value === 'boolean') return value;
  throw new TypeError(`${option} must be true or false, not ${show(value)}`);
};

export const abortSignal: Parser<AbortSignal> = (value, option) => {
  if (value instanceof AbortSignal) return value;
  throw new TypeError(`${option} must be an AbortSignal, not ${show(value)}`);
};

/** A string that is not empty and has a form in UTF-8. */
export const text: Parser<string> = (value, option) => {
  if (typeof value === 'string' && value !== '' && value.isWellFormed()) return value;
  throw new TypeError(`${option} must be a string that is not empty, not ${show(value)}`);
};

/** One of some strings. */
export function oneOf<const Value extends string>(values: readonly Value[]): Parser<Value> {
  const listed = eitherOf(values.map(show));
  return (value, option) => {
    if (values.includes(value as Value)) return value as Value;
    throw new TypeError(`${option} must be ${listed}, not ${show(value)}`);
  };
}

/** `a, b or c` */
export function eitherOf(words: readonly string[]): string {
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

/** A value, as errors show it: in one line, and not too long. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${shown(withoutPassword(value))}'`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return shown(String(value));
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  const fields = Object.keys(value);
  return fields.length === 0 ? 'an object' : `an object with ${listed(fields.slice(0, 3))}`;
}

/** A URL may have a password in it, and errors are stored with failed jobs. */
function withoutPassword(text: string): string {
  return text.replace(/\/\/[^\s/]*@/g, '//***@');
}

/** The class of a value, as errors show it. */
export function showClass(value: unknown): string {
  if (typeof value !== 'object' || value === null) return show(value);
  return `an object of class ${shown(String(value.constructor?.name || '(none)'))}`;
}

function isWholeNumber(value: unknown, min: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min;
}
