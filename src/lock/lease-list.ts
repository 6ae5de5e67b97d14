/**
 * The leases whose time is watched: a list that is pruned now and then. A `Set` that changes with every job would cost
 * more than all the rest of a lock: it is copied each time it fills up, and keeps the garbage collector busy.
 */

import type { KeptLease } from './lease.ts';

/** As many leases that are watched no more may stay in the list, beside one for each that is watched. */
const SLACK = 64;

export class Watchlist implements Iterable<KeptLease> {
  #leases: KeptLease[] = [];
  #watched = 0;

  /** Adds a lease. Harmless when it is there. */
  add(lease: KeptLease): void {
    if (lease.watched) return;
    lease.watched = true;
    this.#leases.push(lease);
    this.#watched++;
  }

  /** Takes a lease away for good. Harmless when it is not there. */
  delete(lease: KeptLease): void {
    if (!lease.watched) return;
    lease.watched = false;
    this.#watched--;
    if (this.#leases.length > 2 * this.#watched + SLACK) {
      this.#leases = this.#leases.filter(({ watched }) => watched);
    }
  }

  /** Leases may be taken away meanwhile. */
  *[Symbol.iterator](): Iterator<KeptLease> {
    for (const lease of this.#leases) if (lease.watched) yield lease;
  }
}
