#!/usr/bin/env node
/** `npx bullmq-once`: shows locks, and releases them by force. */

import { readArguments } from './arguments.ts';
import { runCommand } from './commands.ts';
import { connect } from './connect.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { failureOf } from './failure.ts';
import { HELP } from './help.ts';
import { selectLocks } from './select-locks.ts';
import { processTerminal } from './terminal.ts';
import { packageVersion } from './version.ts';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
// The reader of a pipe may close it early, as `head` does.
process.stdout.on('error', () => process.exit(EXIT.ok));

void main();

/** Output may not be written when a command is done, so the process ends by itself. */
async function main(): Promise<void> {
  process.exitCode = await run().catch(reportError);
}

async function run(): Promise<ExitCode> {
  const terminal = processTerminal(stop.signal);
  const print = (text: string): ExitCode => {
    terminal.write(text);
    return EXIT.ok;
  };
  const args = readArguments(process.argv.slice(2), process.env);
  if (args === 'help') return print(HELP);
  if (args === 'version') return print(`${packageVersion()}\n`);
  const connection = await connect(args.datastore);
  try {
    const locks = await selectLocks(args, connection);
    return await runCommand(args, locks, terminal);
  } finally {
    await connection.close();
  }
}

function reportError(error: unknown): ExitCode {
  const { code, message } = failureOf(error, [...process.argv.slice(2), process.env.REDIS_URL]);
  process.stderr.write(`bullmq-once: ${message}\n`);
  return code;
}
