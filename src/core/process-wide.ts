/**
 * What there is one of in a process. The package is built twice, so two copies of it may live in one process: what must be one
 * for all of them hangs on the global object.
 */

import type { LockCache } from '../cache/contract.ts';

interface ProcessWide {
  /** The registry's. */
  readonly named: Map<string, LockCache>;
  /** One cache a store: it is what keeps the steps on a key apart. */
  readonly ofStores: WeakMap<object, LockCache>;
  default: LockCache | undefined;
  memory: LockCache | undefined;
  /** See `mode.ts`. */
  mode: 'enforce' | 'observe' | 'off' | undefined;
}

const GLOBAL = Symbol.for('bullmq-once');

export function processWide(): ProcessWide {
  const home = globalThis as { [GLOBAL]?: ProcessWide };
  home[GLOBAL] ??= {
    named: new Map(),
    ofStores: new WeakMap(),
    default: undefined,
    memory: undefined,
    mode: undefined,
  };
  return home[GLOBAL];
}
