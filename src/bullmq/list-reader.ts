/** Reads lists of a worker's queue, with the commands that BullMQ's own getters use. */

import type { WorkerLike } from './job.ts';

/** The part of BullMQ that reads lists: `backend` in BullMQ 6, `scripts` in BullMQ 5. */
export interface ListReader {
  /** The ids between two positions of each list. */
  getRanges?(types: string[], start: number, end: number, asc: boolean): Promise<string[][]>;
}

interface Reading extends WorkerLike {
  readonly backend?: ListReader;
  readonly scripts?: ListReader;
}

export function readerOf(worker: WorkerLike): ListReader | undefined {
  const { backend, scripts } = worker as Reading;
  return backend?.getRanges ? backend : scripts;
}
