/** Asks for a key, and waits while others do its work: until it is acquired, or the work is done and its result is there. */

import { isMismatch } from '../cache/lock-rules.ts';
import type { AcquireAttempt, LockRequest } from './lock-request.ts';
import { nextPause, pauseAt, ReleaseSignal, waitUntil } from './release-signal.ts';

/**
 * Each that waits is in the line of the key, and so gets the result of the work that it has waited for.
 * @throws CacheError the cache could not decide.
 */
export async function acquireOrShare(request: LockRequest): Promise<AcquireAttempt> {
  // Most keys are free when they are asked for, and nobody listens to these.
  let release: ReleaseSignal | undefined;
  try {
    for (let pause = nextPause(); ; pause = nextPause(pause)) {
      release?.reset();
      const attempt = await request.tryAcquire({ notify: release !== undefined });
      if (attempt.acquired || attempt.holder.state === 'done') return attempt;
      if (isMismatch(request.terms, attempt.holder)) return attempt;
      if (release) {
        const end = performance.now() + pauseAt(attempt.holder, release, pause);
        await waitUntil(release.notified, end);
      } else {
        // It asks again at once: the key may have been released before anyone listened.
        release = new ReleaseSignal(request);
      }
    }
  } finally {
    release?.stop();
  }
}
