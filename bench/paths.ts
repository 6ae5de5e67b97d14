/** Where things are. The benchmarks run from bench/dist/bench/, to which tsc compiles them. */

export const BENCH: URL = new URL('../../', import.meta.url);
export const DOCS: URL = new URL('../docs/', BENCH);
