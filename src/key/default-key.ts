/** The key of a job where the option `key` is left out. */

import { KeyError } from '../core/errors.ts';
import { canonicalHash, whyNotCanonical } from './canonical-json.ts';
import { shortenKey } from './shorten.ts';

/**
 * The job's name, and a hash of all of its data. A long name is shortened.
 * @throws KeyError the data have no canonical form.
 */
export function defaultKey(name: string, data: unknown): string {
  try {
    return shortenKey(`${name}:${canonicalHash(data ?? null)}`);
  } catch (error) {
    throw new KeyError(`the default key: the job's data ${whyNotCanonical(error)}`, { cause: error });
  }
}
