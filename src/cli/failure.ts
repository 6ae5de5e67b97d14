/** Says why a command failed, and what it ends with. */

import { printable } from '../core/printable.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { NoSuchQueueError } from './no-such-queue-error.ts';
import { withoutSecrets, withoutUrls } from './secrets.ts';
import { UsageError } from './usage-error.ts';

export interface Failure {
  readonly code: ExitCode;
  /** One line. It has no password in it. */
  readonly message: string;
}

/** @param words - of the command line, and of the environment: they may have passwords in them. */
export function failureOf(error: unknown, words: readonly (string | undefined)[]): Failure {
  const message = messageOf(error).replace(/\s*\n\s*/g, ' ');
  if (error instanceof UsageError) {
    return { code: EXIT.usage, message: printable(`${withoutUrls(message, words)}; see bullmq-once --help`) };
  }
  if (error instanceof NoSuchQueueError) {
    return { code: EXIT.notDone, message: printable(withoutUrls(message, words)) };
  }
  return { code: EXIT.failed, message: printable(withoutSecrets(message, words)) };
}

/** An `AggregateError`, as of a connection to several addresses, may have no message of its own. */
function messageOf(error: unknown): string {
  const { message, errors, code } = error as { message?: string; errors?: unknown[]; code?: string };
  return message || (errors?.length ? messageOf(errors[0]) : (code ?? String(error)));
}
