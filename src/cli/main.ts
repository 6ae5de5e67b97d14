#!/usr/bin/env node
/** `npx bullmq-once`: looks at locks, and lets them go by hand. */

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { HELP, readArguments, UsageError } from './arguments.ts';
import { run, type Terminal } from './commands.ts';
import { connect } from './connect.ts';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
// Whoever reads may have seen enough, as `head` has.
process.stdout.on('error', () => process.exit(0));

const terminal: Terminal = {
  write: text => void process.stdout.write(text),
  ask: process.stdin.isTTY ? ask : undefined,
  isScreen: process.stdout.isTTY === true,
  stopped: stop.signal,
};

main().then(
  code => {
    process.exitCode = code;
  },
  error => {
    const isUsage = error instanceof UsageError;
    process.stderr.write(`bullmq-once: ${messageOf(error)}${isUsage ? '; see bullmq-once --help' : ''}\n`);
    process.exitCode = isUsage ? 2 : 3;
  },
);

async function main(): Promise<number> {
  const args = readArguments(process.argv.slice(2), process.env);
  if (args === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  if (args === 'version') {
    process.stdout.write(`${version()}\n`);
    return 0;
  }
  const { cache, close } = await connect(args.where);
  try {
    return await run(args, cache, terminal);
  } finally {
    await close();
  }
}

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return await lines.question(question, { signal: stop.signal });
  } catch {
    return 'no';
  } finally {
    lines.close();
  }
}

/** An error that stands for several has no message of its own. */
function messageOf(error: unknown): string {
  const { message, errors, code } = error as { message?: string; errors?: unknown[]; code?: string };
  return message || (errors?.length ? messageOf(errors[0]) : (code ?? String(error)));
}

function version(): string {
  // Two folders up from dist/esm/cli and from src/cli lies the package, or dist.
  for (const path of ['../../package.json', '../../../package.json']) {
    const { name, version } = readJson(new URL(path, import.meta.url));
    if (name === 'bullmq-once' && version) return version;
  }
  return 'unknown';
}

function readJson(url: URL): { name?: string; version?: string } {
  try {
    return JSON.parse(readFileSync(url, 'utf8'));
  } catch {
    return {};
  }
}
