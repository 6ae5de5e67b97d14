import type { Servers, Store } from './stores.ts';

/** The settings of a run of the benchmarks. */
export interface Settings {
  /** The servers to measure on. Data there may be deleted. */
  readonly servers: Servers;
  readonly rounds: number;
  /** The datastores and clients whose workers are measured. */
  readonly stores: readonly Store[];
  /** How many sets of processes of a contender take turns. */
  readonly workerSets: number;
  /** The concurrencies of a worker. */
  readonly concurrencies: readonly number[];
  /** How many jobs make up one run at a concurrency: enough for a second or so. */
  readonly jobs: (concurrency: number) => number;
  /** 1, or more for a quick run, which does this part of the work: it shows that all still runs, and no figures. */
  readonly scale: number;
}
