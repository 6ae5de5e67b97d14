/** Waits for an answer, but not for ever. */

import { timerDelay } from './timers.ts';

/**
 * @param ms - 0 or less: only an answer that is there already counts.
 * @returns the answer, or `undefined` where it did not come in time.
 */
export async function within<Answer extends NonNullable<unknown>>(
  ms: number,
  answer: Promise<Answer>,
): Promise<Answer | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, timerDelay(ms), undefined);
  });
  try {
    return await Promise.race([answer, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
