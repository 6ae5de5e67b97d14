/** The key of a job where the option `key` is left out. */

import { KeyError } from '../core/errors.ts';
import { canonical, hash, whyNotCanonical } from './canonical-json.ts';

/**
 * The job's name, and a hash of all of its data.
 * @throws KeyError the data have no canonical form.
 */
export function defaultKey(name: string, data: unknown): string {
  try {
    return `${name}:${hash(canonical(data ?? null))}`;
  } catch (error) {
    throw new KeyError(`the default key: the job's data ${whyNotCanonical(error)}`, { cause: error });
  }
}
