/** Where the commands read and write. */

import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';

export interface Terminal {
  write(text: string): void;
  /** Resolves when more can be written: until then it would fill the memory, as the reader of a pipe may be slow. */
  written(): Promise<void>;
  /** Asks a question; absent where nobody can answer. */
  readonly ask: ((question: string) => Promise<string>) | undefined;
  /** Whether the screen can be cleared. */
  readonly isScreen: boolean;
  /** Aborts when the user stops the command. */
  readonly stopped: AbortSignal;
}

/** The terminal of this process. */
export function processTerminal(stopped: AbortSignal): Terminal {
  const { stdin, stdout } = process;
  return {
    write: text => void stdout.write(text),
    written: async () => {
      if (stdout.writableNeedDrain) await once(stdout, 'drain');
    },
    ask: stdin.isTTY ? question => ask(question, stopped) : undefined,
    isScreen: stdout.isTTY === true,
    stopped,
  };
}

async function ask(question: string, stopped: AbortSignal): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return await lines.question(question, { signal: stopped });
  } catch {
    // The user has stopped the command instead of an answer.
    return 'no';
  } finally {
    lines.close();
  }
}
