/** Writes plain data so that different data never look the same: JSON with its fields sorted. */

import { createHash } from 'node:crypto';
import { describeThrown } from '../core/errors.ts';

/** Deeper data would overflow the stack. No key is built from them. */
const MAX_DEPTH = 500;

/** A value has no canonical form. The message completes "… has no canonical form: ". */
class NotCanonical extends Error {}

/** Why {@link canonical} threw; completes the sentence "the job's data …". Reading a value may throw too, as getters can. */
export function whyNotCanonical(error: unknown): string {
  return error instanceof NotCanonical
    ? `has no canonical form: ${error.message}`
    : `can't be read: ${describeThrown(error)}`;
}

/**
 * The canonical JSON of a value: equal for equal data, whatever the order of its fields.
 * @throws NotCanonical part of it is not plain data, or it is nested too deep (as what contains itself is).
 */
export function canonical(value: unknown, depth: number = 0): string {
  if (depth > MAX_DEPTH)
    throw new NotCanonical(`it is nested more than ${MAX_DEPTH} levels deep, or contains itself`);
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

/** A hash that is short enough for a key: 43 characters of base64url. Lone surrogates are lost in a string; in bytes they are kept. */
export function hash(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** The fields of a value that a placeholder can name. */
export function fieldsOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}

function canonicalObject(value: object, depth: number): string {
  const fields = Object.entries(value)
    // As in JSON: a field that is undefined is not there.
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
