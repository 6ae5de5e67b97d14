#!/usr/bin/env node
/** `npx bullmq-once`: shows locks, and releases them by force. */

import { readArguments } from './arguments.ts';
import { runCommand } from './commands.ts';
import { connect } from './connect.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { HELP } from './help.ts';
import { processTerminal } from './terminal.ts';
import { UsageError } from './usage-error.ts';
import { packageVersion } from './version.ts';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
// The reader of a pipe may close it early, as `head` does.
process.stdout.on('error', () => process.exit(EXIT.ok));

// Output may not be written yet, so the process ends by itself.
process.exitCode = await main().catch(reportError);

async function main(): Promise<ExitCode> {
  const terminal = processTerminal(stop.signal);
  const print = (text: string): ExitCode => {
    terminal.write(text);
    return EXIT.ok;
  };
  const args = readArguments(process.argv.slice(2), process.env);
  if (args === 'help') return print(HELP);
  if (args === 'version') return print(`${packageVersion()}\n`);
  const { cache, close } = await connect(args.datastore);
  try {
    return await runCommand(args, cache, terminal);
  } finally {
    await close();
  }
}

function reportError(error: unknown): ExitCode {
  const isUsage = error instanceof UsageError;
  process.stderr.write(`bullmq-once: ${messageOf(error)}${isUsage ? '; see bullmq-once --help' : ''}\n`);
  return isUsage ? EXIT.usage : EXIT.failed;
}

/** An `AggregateError`, as of a connection to several addresses, may have no message of its own. */
function messageOf(error: unknown): string {
  const { message, errors, code } = error as { message?: string; errors?: unknown[]; code?: string };
  return message || (errors?.length ? messageOf(errors[0]) : (code ?? String(error)));
}
