/** The mode `'observe'`: all work runs, and what would have become of a duplicate is emitted as its event. */

import type { DuplicateStrategy, GuardedWork } from '../duplicates/strategy.ts';
import type { AcquireAttempt, LockRequest } from '../lock/lock-request.ts';

/** Observed work waits no longer than this for its cache. */
const MAX_WAIT_MS = 1000;

/** The strategy of a guard that only observes another one: whatever the key's state, the work runs. */
export function observing<Work extends GuardedWork>({
  outcome,
}: DuplicateStrategy<Work>): DuplicateStrategy<Work> {
  return {
    needs: {},
    outcome,
    acquire: ({ request }) => acquireSoon(request),
    onHeld(work, holder) {
      work.request.emitOutcome(outcome, holder, { observed: true });
      return work.run(work.request.unguarded());
    },
    run: (work, handle) => work.run(handle),
  };
}

/** A cache that fails, or is slow, holds observed work up for no longer than this. The event `cache-error` is emitted. */
async function acquireSoon(request: LockRequest): Promise<AcquireAttempt> {
  const attempt = request.tryAcquire();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, MAX_WAIT_MS, undefined);
  });
  try {
    const inTime = await Promise.race([attempt, late]);
    if (inTime) return inTime;
    releaseWhenAcquired(attempt);
  } catch {
    // The event says why.
  } finally {
    clearTimeout(timer);
  }
  return { acquired: true, handle: request.unguarded() };
}

/** The work has begun without it. */
function releaseWhenAcquired(attempt: Promise<AcquireAttempt>): void {
  attempt.then(
    late => late.acquired && late.handle.release(),
    () => {},
  );
}
