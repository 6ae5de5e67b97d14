/**
 * What a datastore's own error says of a step. A datastore that answers with an error has done nothing. Of a step without an answer
 * nothing is known: it may have been done.
 */

interface Refusal {
  /** It may be done if it is sent again soon: a row is locked by someone else. */
  readonly isTransient: boolean;
}

const refusals = new WeakMap<Error, Refusal>();

/** Marks an error as the datastore's answer. */
export function refused(error: Error, { isTransient = false }: Partial<Refusal> = {}): Error {
  refusals.set(error, { isTransient });
  return error;
}

/** What the error says; `undefined` where it is not known whether the step was done. */
export function refusalOf(error: Error): Refusal | undefined {
  return refusals.get(error);
}
