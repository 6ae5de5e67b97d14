/** What the command line does. */

import { setTimeout as delay } from 'node:timers/promises';
import { type LockInfo, type Locks, locks } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import { type Arguments, UsageError } from './arguments.ts';
import { detailsOf, jsonOf, printable, tableOf } from './table.ts';

/** What it reads and writes. */
export interface Terminal {
  write(text: string): void;
  /** Asks a question; not there where nobody could answer. */
  readonly ask: ((question: string) => Promise<string>) | undefined;
  /** Whether the screen can be cleared. */
  readonly isScreen: boolean;
  readonly stopped: AbortSignal;
}

/** @returns the exit code. */
export function run(args: Arguments, cache: LockCache, terminal: Terminal): Promise<number> {
  switch (args.command) {
    case 'list':
      return list(args, cache, terminal);
    case 'show':
      return show(args, cache, terminal);
    case 'release':
      return release(args, cache, terminal);
    case 'watch':
      return watch(args, cache, terminal);
  }
}

async function list(args: Arguments, cache: LockCache, { write }: Terminal): Promise<number> {
  const found = await find(args, cache);
  if (args.json) for (const info of found) write(jsonOf(info));
  else write(tableOf(found, Date.now()));
  return 0;
}

async function show(args: Arguments, cache: LockCache, { write }: Terminal): Promise<number> {
  const found = await named(args, cache, args.keys[0] as string);
  if (args.json) for (const info of found) write(jsonOf(info));
  else if (found.length > 0) write(found.map(info => detailsOf(info, Date.now())).join('\n'));
  else write(`'${printable(args.keys[0] as string)}' is not held\n`);
  return found.length > 0 ? 0 : 1;
}

async function release(args: Arguments, cache: LockCache, { write, ask }: Terminal): Promise<number> {
  const found: LockInfo[] = [];
  for (const key of args.keys) {
    const [info, other] = await named(args, cache, key);
    if (other)
      throw new UsageError(`'${printable(key)}' is held more than once; say which with --queue or --scope`);
    if (info) found.push(info);
    else write(`'${printable(key)}' is not held\n`);
  }
  if (found.length === 0) return 1;
  if (!args.yes) {
    if (!ask) throw new UsageError('release asks first, and nobody can answer here; give --yes to mean it');
    const answer = await ask(
      `${tableOf(found, Date.now())}Let go of ${found.length === 1 ? 'it' : `these ${found.length}`}? [y/N] `,
    );
    if (!/^y(es)?$/i.test(answer.trim())) return 1;
  }
  let released = 0;
  for (const info of found) {
    const was = await locks(cache).evict(info);
    if (was) released++;
    write(`'${printable(info.key)}' ${was ? 'was let go of' : 'was no longer held, or is no lock'}\n`);
  }
  return released === args.keys.length ? 0 : 1;
}

async function watch(
  args: Arguments,
  cache: LockCache,
  { write, isScreen, stopped }: Terminal,
): Promise<number> {
  while (!stopped.aborted) {
    const found = await find(args, cache);
    const text = args.json
      ? found.map(jsonOf).join('')
      : `${new Date().toLocaleTimeString()}\n${tableOf(found, Date.now())}`;
    write(isScreen && !args.json ? `\x1b[H\x1b[2J${text}` : text);
    await delay(args.every, undefined, { signal: stopped }).catch(() => {});
  }
  return 0;
}

/** The locks that are meant, sorted. */
async function find(args: Arguments, cache: LockCache): Promise<LockInfo[]> {
  const { startsWith, state } = args;
  const found: LockInfo[] = [];
  for await (const info of targetOf(args, cache).list({ startsWith, ...(state && { state }) }))
    found.push(info);
  const nameOf = ({ queue, scope, key }: LockInfo) => `${queue ?? ''}\0${scope ?? ''}\0${key}`;
  return found.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** The locks of that key: one, or where neither queue nor scope is given, all that there are. */
async function named(args: Arguments, cache: LockCache, key: string): Promise<LockInfo[]> {
  if (args.queue === undefined && args.scope === undefined) {
    return (await find({ ...args, startsWith: key }, cache)).filter(info => info.key === key);
  }
  const info = await targetOf(args, cache).get(key);
  return info ? [info] : [];
}

function targetOf({ queue, scope, where }: Arguments, cache: LockCache): Locks {
  if (queue === undefined) return locks(cache, scope === undefined ? {} : { scope });
  const qualifiedName = 'redis' in where ? `${where.prefix}:${queue}` : queue;
  return locks({ name: queue, qualifiedName }, { cache });
}
