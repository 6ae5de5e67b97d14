/** Processes that are measured, or that serve what is measured. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';

const ENDS_WITH_PARENT = new URL('ends-with-parent.js', import.meta.url).href;

/** @param file - one of this folder, as it is compiled. */
export function startChild(file: string): ChildProcess {
  return fork(new URL(file, import.meta.url), { execArgv: ['--expose-gc', `--import=${ENDS_WITH_PARENT}`] });
}

/**
 * Sends a message to a process, and waits for the answer.
 * @throws Error the process ended without one. The error names `what`.
 */
export async function ask<Answer>(child: ChildProcess, what: string, message: object): Promise<Answer> {
  const answered = new AbortController();
  const exit = once(child, 'exit', { signal: answered.signal }).then(([code]) => {
    throw new Error(`the process for ${what} ended with status ${code}`);
  });
  child.send(message);
  const [answer] = await Promise.race([once(child, 'message', { signal: answered.signal }), exit]);
  exit.catch(() => {});
  answered.abort();
  return answer as Answer;
}
