/**
 * Writes a value so that different values never look the same: JSON with its fields sorted, of plain data only.
 */

import { createHash } from 'node:crypto';
import { KeyError } from '../core/errors.ts';

/** Deeper data would overflow the stack; no key is made of such. */
const DEEPEST = 500;

/** A value has no canonical form. The message completes "… has no canonical form: ". */
class NotCanonical extends Error {}

/** Why {@link canonical} threw, after the name of what has no form. Reading a value may throw too, as getters can. */
export function whyNotCanonical(error: unknown): string {
  return error instanceof NotCanonical
    ? `has no canonical form: ${error.message}`
    : `can't be read: ${error}`;
}

/**
 * The canonical JSON of a value: equal for equal data, whatever the order of its fields.
 * @throws NotCanonical part of it is not plain data, or it is nested too deep (as what contains itself is).
 */
export function canonical(value: unknown, depth: number = 0): string {
  if (depth > DEEPEST)
    throw new NotCanonical(`it is nested more than ${DEEPEST} levels deep, or contains itself`);
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return JSON.stringify(value);
    case 'number':
      if (Number.isFinite(value)) return String(value);
      throw new NotCanonical(`it contains ${value}`);
    case 'bigint':
      return `${value}n`;
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return `[${Array.from(value, item => canonical(item, depth + 1)).join(',')}]`;
      if (isPlain(value)) return canonicalObject(value, depth);
      throw new NotCanonical(`it contains an instance of ${value.constructor?.name || 'an unnamed class'}`);
    default:
      throw new NotCanonical(`it contains ${value === undefined ? 'undefined' : `a ${typeof value}`}`);
  }
}

/** A hash of a text, short enough for a key: 43 characters of base64url. Half characters are lost in a string, and are not in bytes. */
export function hash(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** The fields of a value that a placeholder could name. */
export function fieldsOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}

function canonicalObject(value: object, depth: number): string {
  const fields = Object.entries(value)
    // As JSON has it: what is undefined is not there.
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${canonical(field, depth + 1)}`);
  return `{${fields.join(',')}}`;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  // A plain object of another realm (a vm context, as in Jest) has that realm's Object.prototype.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * The key of a job whose user names none: its name, and a hash of all of its data.
 * @throws KeyError the data has no canonical form.
 */
export function defaultKey(name: string, data: unknown): string {
  try {
    return `${name}:${hash(canonical(data ?? null))}`;
  } catch (error) {
    throw new KeyError(`the default key: the job's data ${whyNotCanonical(error)}`, { cause: error });
  }
}
