/** The rule of `'keep-last'`: which job is the newest of its key. A pure function, as in `lock-rules.ts`. */

import type { Arrival, Newest } from './contract.ts';

/** What is stored about the newest job of a key. */
export interface StoredNewest {
  readonly owner: string;
  readonly order: string;
  readonly parked: boolean;
  readonly expiresAt: number;
}

/** Decides which job is the newest, the one that arrives or the stored one, and what to store. */
export function decideNewest(
  arrival: Arrival,
  stored: StoredNewest | undefined,
  now: number,
): { newest: Newest; stored: StoredNewest } {
  const { owner, order, parked, rememberFor } = arrival;
  const expiresAt = Math.max(stored?.expiresAt ?? 0, now + rememberFor);
  if (stored && stored.owner !== owner && !isNewer(arrival, stored.order)) {
    return { newest: { owner: stored.owner, parked: stored.parked }, stored: { ...stored, expiresAt } };
  }
  const outdone = stored?.parked && stored.owner !== owner ? stored.owner : undefined;
  return { newest: { owner, parked, outdone }, stored: { owner, order, parked, expiresAt } };
}

function isNewer({ order, rerun }: Arrival, stored: string): boolean {
  return order === stored ? !rerun : order > stored;
}
