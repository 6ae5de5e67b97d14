import type { Servers } from './stores.ts';

/** What a run of the benchmarks is given. */
export interface Settings {
  /** What is measured on; data there may be deleted. */
  readonly servers: Servers;
  readonly rounds: number;
  /** How many processes, or sets of processes, of a contender take turns. */
  readonly crews: number;
  /** Of a worker. */
  readonly concurrencies: readonly number[];
  /** How many jobs make up one run at a concurrency: enough for a second or so. */
  readonly jobs: (concurrency: number) => number;
  /** Divides whatever is counted in a quick run, which shows that all still works, and no figures. */
  readonly scale: number;
}
