/**
 * `'replace'`: as `'keep-last'`, and the signal of the running job aborts when a newer one is parked. The newer one runs when the older
 * one has ended: two never run at once.
 */

import { LINE_METHODS, type Listener } from '../cache/contract.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import { inLine, runAndPromote } from './line.ts';
import type { GuardedJob, StrategyForm } from './strategy.ts';

/** How often the line is looked at while nothing is notified. */
const LOOK_INTERVAL_MS = 1000;

const replace = inLine('newest', {
  needs: { methods: [...LINE_METHODS, 'listen'], onePlace: true },
  interrupts: true,
  async run(work, handle) {
    if (!handle.isGuarded) return work.run(handle);
    const stop = interruptWhenReplaced(work, handle);
    try {
      return await runAndPromote(work, handle);
    } finally {
      stop();
    }
  },
});

export const replaceForm: StrategyForm<GuardedJob> = {
  usage: "'replace'",
  parse: whenLocked => (whenLocked === 'replace' ? replace : undefined),
};

/** @returns a function that ends it. */
function interruptWhenReplaced({ request }: GuardedJob, handle: LockHandle): () => void {
  async function look(): Promise<void> {
    try {
      // Whoever is parked behind the holder is newer.
      if ((await request.findLine()).parked > 0) handle.interrupt();
    } catch {
      // The next look tells.
    }
  }
  let listener: Listener | undefined;
  try {
    listener = request.cache.listen?.(request.terms.storedKey, () => void look());
  } catch {
    // Then it looks.
  }
  const timer = setInterval(() => listener?.isListening || void look(), LOOK_INTERVAL_MS).unref();
  return () => {
    clearInterval(timer);
    listener?.stop();
  };
}
