/** What must be equal besides the key for work to be a duplicate (`match`), as a hash that the record of the key keeps. */

import { describeThrown, KeyError } from '../core/errors.ts';
import { shown } from '../core/printable.ts';
import { hash } from './shorten.ts';
import { fillTemplate, showNoKey, type Template } from './template.ts';

/** 132 bits: two texts that differ have equal hashes in no practice. */
const HASH_LENGTH = 22;

/**
 * Fills a template.
 * @param whose - what the placeholders look into, for errors: `"the job's data"`.
 * @throws KeyError a placeholder has no value here.
 */
export function matchFromTemplate(template: Template, data: unknown, whose: string): string {
  return matchHash(fillTemplate(template, data, whose));
}

/**
 * Asks the user's function.
 * @param whose - how errors name the option.
 * @throws KeyError the function threw, or has not returned a string.
 */
export function matchFromFunction(build: () => unknown, whose: string): string {
  let text: unknown;
  try {
    text = build();
  } catch (cause) {
    const problem = shown(describeThrown(cause));
    throw new KeyError(`${whose} could not be built: the function threw ${problem}`, { cause });
  }
  if (typeof text === 'string') return matchHash(text);
  throw new KeyError(`${whose} must be a string, not ${showNoKey(text)}`);
}

function matchHash(text: string): string {
  // Lone surrogates are kept.
  return hash(Buffer.from(text, 'utf16le')).slice(0, HASH_LENGTH);
}
