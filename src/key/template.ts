/**
 * Builds keys from templates: `'welcome-{userId}'` over `{ userId: 42 }` is `welcome-42`.
 *
 * Building is injective: data that differ in a placeholder's value never share a key. Each value is written in an alphabet
 * without the character that follows the placeholder in the template, so it is clear where the value ends. And a value of
 * one type never looks like a value of another type.
 */

import { describeThrown, KeyError } from '../core/errors.ts';
import { listed, shown } from '../core/printable.ts';
import { show } from '../core/validation.ts';
import { canonical, fieldsOf, whyNotCanonical } from './canonical-json.ts';
import { hash, MAX_KEY_LENGTH, shortenKey } from './shorten.ts';

/** A template, ready to be filled: the string before the first placeholder, then each placeholder with the string after it. */
export interface Template {
  /** How errors name it. */
  readonly name: string;
  readonly source: string;
  readonly head: string;
  readonly slots: readonly Slot[];
}

interface Slot {
  /** The placeholder as it is written. */
  readonly name: string;
  readonly path: readonly string[];
  /** Matches a value that can be written unchanged. */
  readonly plain: RegExp;
  /** Matches each character that must be escaped. */
  readonly unsafe: RegExp;
  /** The string up to the next placeholder, after a terminator where nothing else would show where the value ends. */
  readonly tail: string;
}

/**
 * Parses a template.
 * @param what - how errors name it.
 * @throws TypeError it is malformed. The message says where.
 */
export function parseTemplate(source: string, what: string = 'lock key'): Template {
  const name = `${what} '${shown(source)}'`;
  const texts = [''];
  const names: string[] = [];
  for (let i = 0; i < source.length; i++) {
    const char = source[i] as string;
    if (char !== '{' && char !== '}') texts[texts.length - 1] += char;
    else if (source[i + 1] === char) {
      texts[texts.length - 1] += char;
      i++;
    } else if (char === '}') {
      throw malformed(name, `the '}' at ${i} closes nothing; write '}}' for a brace`);
    } else {
      const end = source.indexOf('}', i);
      if (end < 0) throw malformed(name, `the '{' at ${i} is never closed; write '{{' for a brace`);
      names.push(source.slice(i + 1, end));
      texts.push('');
      i = end;
    }
  }
  if (source === '') throw malformed(name, 'it is empty');
  if (!source.isWellFormed()) throw malformed(name, 'it contains a lone surrogate (half a character)');
  const slots = names.map((slotName, i) =>
    slot(name, slotName, texts[i + 1] as string, i === names.length - 1),
  );
  return { name, source, head: texts[0] as string, slots };
}

/**
 * Fills a template.
 * @param whose - what the placeholders look into, for errors: `"the job's data"`.
 * @throws KeyError a placeholder has no value here that a key can be made of.
 */
export function fillTemplate(template: Template, data: unknown, whose: string): string {
  let key = template.head;
  for (const slot of template.slots) {
    key += written(stringOf(template, slot, data, whose), slot) + slot.tail;
  }
  if (key === '')
    throw new KeyError(`${template.name}: the key would be empty; put some characters around it`);
  return shortenKey(key);
}

/**
 * Builds a key with the user's function.
 * @throws KeyError the function threw, or what it returned is no key.
 */
export function keyFromFunction(build: () => unknown, whose: string): string {
  let key: unknown;
  try {
    key = build();
  } catch (error) {
    throw new KeyError(
      `${whose} could not be built: the key function threw ${shown(describeThrown(error))}`,
      {
        cause: error,
      },
    );
  }
  return checkKey(key, whose);
}

/**
 * Checks a key that was not built from a template.
 * @throws KeyError it is no string, empty, or has no form in UTF-8.
 */
export function checkKey(key: unknown, whose: string): string {
  if (typeof key !== 'string') throw new KeyError(`${whose} must be a string, not ${showNoKey(key)}`);
  if (key === '') throw new KeyError(`${whose} is empty; an empty key would lock everything`);
  if (!key.isWellFormed()) throw new KeyError(`${whose} contains a lone surrogate (half a character)`);
  return shortenKey(key);
}

/** What is no string, as errors show it. */
export function showNoKey(key: unknown): string {
  if (key instanceof Promise) {
    // Else its rejection would end the process.
    key.catch(() => {});
    return 'a promise; build it without awaiting';
  }
  if (typeof key === 'number' || typeof key === 'bigint') return `${key}; write String(…) around it`;
  return show(key);
}

function slot(template: string, name: string, text: string, isLast: boolean): Slot {
  const path = name.split('.');
  if (path.includes('')) {
    throw malformed(
      template,
      `the placeholder '{${shown(name)}}' has an empty name; write '{{' and '}}' for braces`,
    );
  }
  if (/[\s{]/.test(name)) {
    throw malformed(
      template,
      `the placeholder '{${shown(name)}}' has a space or a brace in it; use a function for such names`,
    );
  }
  // The last value ends where the rest of the template, which is known, begins.
  if (isLast) return { name, path, ...alphabet(undefined), tail: text };
  const [follows] = text;
  // Nothing follows, or a '%' that could belong to the value: a terminator shows where the value ends.
  if (follows === undefined || follows === '%')
    return { name, path, ...alphabet(undefined), tail: `~${text}` };
  return { name, path, ...alphabet(follows), tail: text };
}

/** The characters of a value: letters, digits, marks and some signs of any language, but not `without`. */
function alphabet(without: string | undefined): Pick<Slot, 'plain' | 'unsafe'> {
  const bar = without === undefined ? '' : `(?!\\u{${without.codePointAt(0)?.toString(16)}})`;
  const safe = `${bar}[\\p{L}\\p{M}\\p{N}_.@+/:=,$!*'\\-]`;
  return { plain: new RegExp(`^(?:${safe})*$`, 'u'), unsafe: new RegExp(`(?!${safe})[^]`, 'gu') };
}

/** Strings that look like a value of another type, or like a string that was marked because it does. */
const LOOKS_TYPED = /^(?:'|[[{]|true$|false$|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?n?$)/;

function stringOf(template: Template, { name, path }: Slot, data: unknown, whose: string): string {
  const refuse = (problem: string, details: { fields?: string[]; cause?: unknown } = {}): never => {
    throw new KeyError(`${template.name}: ${problem}`, { placeholder: name, ...details });
  };

  try {
    let value = data;
    for (const [i, field] of path.entries()) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field)) {
        const fields = fieldsOf(value);
        const where = i === 0 ? whose : `'${shown(path.slice(0, i).join('.'))}' in ${whose}`;
        const hint =
          i === 0 && field === 'data' ? "; the paths of a template begin within the data: '{userId}'" : '';
        const has =
          typeof value === 'object' ? `it has: ${listed(fields) || 'no fields'}` : `it is a ${typeof value}`;
        refuse(`${where} has no '${shown(field)}' (${has})${hint}`, {
          fields,
        });
      }
      value = (value as Record<string, unknown>)[field];
    }
    if (typeof value === 'string') return LOOKS_TYPED.test(value) ? `'${value}` : value;
    if (value === undefined || value === null) refuse(`'${shown(name)}' in ${whose} is ${value}`);
    return canonical(value);
  } catch (error) {
    if (error instanceof KeyError) throw error;
    return refuse(`'${shown(name)}' in ${whose} ${whyNotCanonical(error)}`, { cause: error });
  }
}

/** A long value is written as its beginning and a hash, after a '%~' that stands nowhere else. */
function written(text: string, slot: Slot): string {
  if (text.length > MAX_KEY_LENGTH) {
    return `${written(text.slice(0, MAX_KEY_LENGTH), slot)}%~${hash(Buffer.from(text, 'utf16le'))}`;
  }
  return slot.plain.test(text) ? text : text.replace(slot.unsafe, escapeChar);
}

function escapeChar(char: string): string {
  const code = char.charCodeAt(0);
  if (code < 0x80) return `%${hex(code, 2)}`;
  // By UTF-16 code units: a lone surrogate has no other form.
  return Array.from({ length: char.length }, (_, i) => `%u${hex(char.charCodeAt(i), 4)}`).join('');
}

function hex(code: number, digits: number): string {
  return code.toString(16).toUpperCase().padStart(digits, '0');
}

function malformed(template: string, problem: string): TypeError {
  return new TypeError(`${template}: ${problem}`);
}
