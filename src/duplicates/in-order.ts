/** `'in-order'`: duplicates are parked, and all run, one after another, in the order in which BullMQ handed them out. */

import { inLine } from './line.ts';
import type { GuardedJob, StrategyForm } from './strategy.ts';

const inOrder = inLine('all');

export const inOrderForm: StrategyForm<GuardedJob> = {
  usage: "'in-order'",
  parse: whenLocked => (whenLocked === 'in-order' ? inOrder : undefined),
};
