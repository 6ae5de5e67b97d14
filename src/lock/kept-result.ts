/**
 * What is kept of the result of work that was done: who did it, and what it returned as JSON, as BullMQ makes it of return values. What has
 * no form in JSON (`undefined`, a function, what contains itself) is `undefined`.
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
  readonly isTooLarge: boolean;
}

/**
 * @param by - the owner that did the work.
 * @param maxBytes - a larger result is not kept.
 */
export function keptResult(by: string, value: unknown, maxBytes: number = MAX_RESULT_BYTES): WrittenResult {
  const owner = JSON.stringify(by);
  const json = jsonOf(value);
  if (json === undefined) return { text: `{"by":${owner}}`, bytes: 0, isTooLarge: false };
  const bytes = Buffer.byteLength(json);
  return bytes > maxBytes
    ? { text: `{"by":${owner},"tooLarge":${bytes}}`, bytes: 0, isTooLarge: true }
    : { text: `{"by":${owner},"value":${json}}`, bytes, isTooLarge: false };
}

/** Reads the text of {@link keptResult}. */
export function readResult(text: string): SharedResult {
  const { by, value, tooLarge } = JSON.parse(text) as { by: string; value?: unknown; tooLarge?: number };
  return { by, value, isKept: tooLarge === undefined };
}

function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    // BullMQ fails such a job, and says why.
    return undefined;
  }
}
