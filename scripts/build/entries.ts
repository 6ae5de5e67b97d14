/** The entry points that `exports` in package.json names: `src/<name>.ts` becomes `dist/<name>.*`. */
export const ENTRIES: readonly string[] = ['index', 'postgres', 'board', 'conformance'];

/** The command line, which `bin` names. It is run, and exports nothing. */
export const CLI = 'cli';
