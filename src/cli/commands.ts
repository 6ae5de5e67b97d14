/** The commands by their names. */

import type { LockAdmin } from '../admin/lock-admin.ts';
import type { Arguments, Command } from './arguments.ts';
import { forceRelease } from './commands/force-release.ts';
import { list } from './commands/list.ts';
import { show } from './commands/show.ts';
import { stats } from './commands/stats.ts';
import { watch } from './commands/watch.ts';
import { why } from './commands/why.ts';
import type { ExitCode } from './exit-codes.ts';
import type { Terminal } from './terminal.ts';

type Run = (args: Arguments, locks: LockAdmin, terminal: Terminal) => Promise<ExitCode>;

const COMMANDS: Readonly<Record<Command, Run>> = {
  list,
  show,
  why,
  stats,
  'force-release': forceRelease,
  watch,
};

export const runCommand: Run = (args, locks, terminal) => COMMANDS[args.command](args, locks, terminal);
