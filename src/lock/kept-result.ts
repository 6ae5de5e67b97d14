/**
 * What is kept of the result of work that was done: who did it, and what it returned as JSON, as BullMQ makes it of return values. What has
 * no form in JSON is `undefined`.
 */

import type { KeptResult } from '../cache/contract.ts';

/** A result is kept up to this size of its JSON in UTF-8, in bytes. */
export const MAX_RESULT_BYTES = 16_384;

/** A result that was read. */
export interface SharedResult {
  /** The owner that did the work. */
  readonly by: string;
  /** `false`: it was too large to keep. */
  readonly isKept: boolean;
  readonly value: unknown;
}

/** A result that was written. */
export interface WrittenResult extends KeptResult {
  /** Why it is not kept: it is too large, or it is refused, by JSON (a `BigInt`, what contains itself) or by those who are to keep it. */
  readonly problem?: 'too-large' | 'refused';
}

/**
 * @param by - the owner that did the work, and a hash of what must be equal for others to share it.
 * @param limits - `maxBytes`: a larger result is not kept. `isRefused`: nor is one whose JSON is refused.
 */
export function keptResult(
  { owner, match }: { readonly owner: string; readonly match?: string | undefined },
  value: unknown,
  {
    maxBytes = MAX_RESULT_BYTES,
    isRefused,
  }: { readonly maxBytes?: number; readonly isRefused?: (json: string) => boolean } = {},
): WrittenResult {
  // Caches look for the match where the text begins.
  const of = `${match === undefined ? '' : `"match":${JSON.stringify(match)},`}"by":${JSON.stringify(owner)}`;
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch {
    return { text: `{${of}}`, bytes: 0, problem: 'refused' };
  }
  if (json === undefined) return { text: `{${of}}`, bytes: 0 };
  if (isRefused?.(json)) return { text: `{${of}}`, bytes: 0, problem: 'refused' };
  const bytes = Buffer.byteLength(json);
  return bytes > maxBytes
    ? { text: `{${of},"tooLarge":${bytes}}`, bytes: 0, problem: 'too-large' }
    : { text: `{${of},"value":${json}}`, bytes };
}

/** Reads the text of {@link keptResult}. */
export function readResult(text: string): SharedResult {
  const { by, value, tooLarge } = JSON.parse(text) as { by: string; value?: unknown; tooLarge?: number };
  return { by, value, isKept: tooLarge === undefined };
}
