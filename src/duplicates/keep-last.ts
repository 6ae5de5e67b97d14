/**
 * `'keep-last'`: of the jobs of one key one runs, and of the others only the newest is parked and runs after it. The others are skipped:
 * also an older one that comes, or comes again, when a newer one has run. A job that holds the key, or has reserved it, goes on.
 */

import { inLine } from './line.ts';
import type { GuardedJob, StrategyForm } from './strategy.ts';

const keepLast = inLine('newest');

export const keepLastForm: StrategyForm<GuardedJob> = {
  usage: "'keep-last'",
  parse: whenLocked => (whenLocked === 'keep-last' ? keepLast : undefined),
};
