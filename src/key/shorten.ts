/** Bounds what is stored and sent along with every lock: keys, and the owners and ids of jobs. */

import { crypto } from '../core/builtins.ts';
import { beginningOf } from '../core/printable.ts';

/** A hash that is short enough for a key: 43 characters of base64url. Lone surrogates are lost in a string; in bytes they are kept. */
export function hash(text: string | Uint8Array): string {
  return crypto().createHash('sha256').update(text).digest('base64url');
}

/** Longer keys end in a hash. This is long enough to read, and short enough for every store. */
export const MAX_KEY_LENGTH = 256;

/** A key of more than {@link MAX_KEY_LENGTH} characters keeps its beginning, and ends in a hash. */
export function shortenKey(key: string): string {
  return shorten(key, MAX_KEY_LENGTH);
}

/**
 * A string of more than `max` characters keeps its beginning and ends in a hash of the whole, 44 characters more. It stays longer
 * than any string that is not shortened, so no two strings become the same.
 */
export function shorten(text: string, max: number): string {
  return text.length > max ? `${beginningOf(text, max)}~${hash(text)}` : text;
}
