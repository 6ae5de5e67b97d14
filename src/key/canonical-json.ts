/** Writes plain data so that different data never look the same: JSON with its fields sorted. */

import { crypto } from '../core/builtins.ts';
import { describeThrown } from '../core/errors.ts';
import { shown } from '../core/printable.ts';

/** Deeper data would overflow the stack. No key is built from them. */
const MAX_DEPTH = 500;
/** What has been written is handed on in pieces of about this length. A string that grows for longer becomes slow to read. */
const PIECE_LENGTH = 32_768;

/** A value has no canonical form. The message completes "… has no canonical form: ". */
class NotCanonical extends Error {}

/** Why {@link canonical} threw; completes the sentence "the job's data …". Reading a value may throw too, as getters can. */
export function whyNotCanonical(error: unknown): string {
  return error instanceof NotCanonical
    ? `has no canonical form: ${error.message}`
    : `can't be read: ${shown(describeThrown(error))}`;
}

/**
 * The canonical JSON of a value: equal for equal data, whatever the order of its fields.
 * @throws NotCanonical part of it is not plain data, or it is nested too deep (as what contains itself is).
 */
export function canonical(value: unknown): string {
  const pieces: Buffer[] = [];
  new Writer(piece => pieces.push(Buffer.from(piece))).write(value);
  return Buffer.concat(pieces).toString();
}

/**
 * A hash of the canonical JSON of a value, which is never in memory as a whole.
 * @throws NotCanonical as {@link canonical}.
 */
export function canonicalHash(value: unknown): string {
  const hash = crypto().createHash('sha256');
  new Writer(piece => hash.update(piece)).write(value);
  return hash.digest('base64url');
}

/** Writes one value. This is the slowest part of a guard where a job's data are large. */
class Writer {
  readonly #onPiece: (piece: string) => unknown;
  #piece = '';

  constructor(onPiece: (piece: string) => unknown) {
    this.#onPiece = onPiece;
  }

  write(value: unknown): void {
    this.#value(value, 0);
    this.#onPiece(this.#piece);
  }

  #value(value: unknown, depth: number): void {
    if (depth > MAX_DEPTH)
      throw new NotCanonical(`it is nested more than ${MAX_DEPTH} levels deep, or contains itself`);
    switch (typeof value) {
      case 'string':
        this.#piece += JSON.stringify(value);
        break;
      case 'boolean':
        this.#piece += value ? 'true' : 'false';
        break;
      case 'number':
        if (!Number.isFinite(value)) throw new NotCanonical(`it contains ${value}`);
        this.#piece += value;
        break;
      case 'bigint':
        this.#piece += `${value}n`;
        break;
      case 'object':
        if (value === null) this.#piece += 'null';
        else if (Array.isArray(value)) this.#array(value, depth);
        else if (isPlain(value)) this.#object(value as Readonly<Record<string, unknown>>, depth);
        else throw new NotCanonical(`it contains an instance of ${classOf(value)}`);
        break;
      default:
        throw new NotCanonical(`it contains ${value === undefined ? 'undefined' : `a ${typeof value}`}`);
    }
    if (this.#piece.length >= PIECE_LENGTH) this.#handOn();
  }

  #array(values: readonly unknown[], depth: number): void {
    this.#piece += '[';
    for (let i = 0; i < values.length; i++) {
      if (i > 0) this.#piece += ',';
      this.#value(values[i], depth + 1);
    }
    this.#piece += ']';
  }

  #object(value: Readonly<Record<string, unknown>>, depth: number): void {
    let before = '{';
    for (const name of Object.keys(value).sort()) {
      const field = value[name];
      // As in JSON: a field that is undefined is not there.
      if (field === undefined) continue;
      this.#piece += `${before}${JSON.stringify(name)}:`;
      before = ',';
      this.#value(field, depth + 1);
    }
    this.#piece += before === '{' ? '{}' : '}';
  }

  #handOn(): void {
    this.#onPiece(this.#piece);
    this.#piece = '';
  }
}

/** The fields of a value that a placeholder can name. */
export function fieldsOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  // A plain object of another realm (a vm context, as in Jest) has that realm's Object.prototype.
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

function classOf(value: object): string {
  return shown(String(value.constructor?.name || 'an unnamed class'));
}
