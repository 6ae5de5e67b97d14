/** The library, evaluated for each simulated process: each has module state, clocks, timers and randomness of its own. */

/** What a simulated process has instead of Node's globals. */
export interface Globals {
  readonly require: (name: string) => unknown;
  readonly process: object;
  readonly performance: object;
  readonly Date: object;
  readonly Math: object;
  readonly setTimeout: unknown;
  readonly clearTimeout: unknown;
  readonly setInterval: unknown;
  readonly clearInterval: unknown;
  readonly setImmediate: unknown;
}

const NAMES = [
  'require',
  'process',
  'performance',
  'Date',
  'Math',
  'setTimeout',
  'clearTimeout',
  'setInterval',
  'clearInterval',
  'setImmediate',
] as const satisfies (keyof Globals)[];

export type Guard = Pick<typeof import('../../src/guard/once-processor.ts'), 'onceProcessor'> &
  Pick<typeof import('../../src/cache/refusals.ts'), 'refused'>;
export type Rules = typeof import('../../src/cache/line-rules.ts') &
  typeof import('../../src/cache/lock-rules.ts');

export interface Library {
  /** Evaluates what a process with workers has of the library. */
  guardFor(globals: Globals): Guard;
  /** Evaluates the rules by which a datastore decides. */
  rulesFor(globals: Globals): Rules;
}

/** The library as two programs: what a process with workers has of it, and the rules by which a datastore decides. */
export interface LibraryTexts {
  readonly guard: string;
  readonly rules: string;
}

/** Makes a library of its bundled text. */
export function loadLibrary({ guard, rules }: LibraryTexts): Library {
  return { guardFor: evaluator<Guard>(guard), rulesFor: evaluator<Rules>(rules) };
}

function evaluator<Exports>(text: string): (globals: Globals) => Exports {
  const evaluate = new Function('module', 'exports', 'globalThis', ...NAMES, text);
  return globals => {
    const module = { exports: {} };
    evaluate(module, module.exports, { ...globals, queueMicrotask }, ...NAMES.map(name => globals[name]));
    return module.exports as Exports;
  };
}

/** A module of Node that has neither clock nor randomness. */
export function requireHarmless(name: string): unknown {
  return process.getBuiltinModule(name);
}
