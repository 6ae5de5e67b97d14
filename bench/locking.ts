/** Acquires and releases many locks: one after another, or many at once. */

import type { Locker } from './lockers.ts';
import { type Figures, median } from './measure.ts';

/** How long one acquisition takes, one release, and both, where the next key waits for them. */
export async function oneAfterAnother({ acquire }: Locker, times: number): Promise<Figures> {
  const acquisitions: number[] = [];
  const releases: number[] = [];
  const pairs: number[] = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    const release = await acquire(`key-${i}`);
    const acquiredAt = performance.now();
    await release?.();
    const releasedAt = performance.now();
    if (!release) throw new Error('a key that is free was refused');
    acquisitions.push((acquiredAt - start) * 1000);
    releases.push((releasedAt - acquiredAt) * 1000);
    pairs.push((releasedAt - start) * 1000);
  }
  return {
    'µs to acquire': median(acquisitions),
    'µs to release': median(releases),
    'µs for both': median(pairs),
  };
}

/** Calls a function so many times, with so many calls under way at once. */
export async function inFlight(
  size: number,
  times: number,
  what: (i: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const repeat = async () => {
    while (next < times) await what(next++);
  };
  await Promise.all(Array.from({ length: size }, repeat));
}
