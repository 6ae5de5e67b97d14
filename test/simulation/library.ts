/**
 * The library, evaluated for each simulated process: each has module state, clocks, timers and randomness of its own. To evaluate it takes
 * longer than to play most histories, and what was just evaluated runs slowly. So a process gets what a process of an earlier history
 * had, with its module state as it was at first.
 */

import type { Random } from '../faults/random.ts';
import { type CacheClass, cacheClassFor } from './simulated-cache.ts';

/** What a simulated process has instead of Node's globals. */
export interface Host {
  readonly random: Random;
  monotonic(): number;
  wall(): number;
  setTimeout(run: (...args: any[]) => void, ms?: number, ...args: unknown[]): Timer;
  setInterval(run: () => void, ms: number): Timer;
  setImmediate(run: (...args: any[]) => void, ...args: unknown[]): void;
  nextTick(run: () => void): void;
  sleepUnlessAborted(ms: number, value: unknown, options?: { signal?: AbortSignal }): Promise<unknown>;
}

export interface Timer {
  isCleared: boolean;
  unref(): Timer;
  ref(): Timer;
  hasRef(): boolean;
}

/** What a process with workers has of the library. */
export interface Guard {
  readonly onceProcessor: typeof import('../../src/guard/once-processor.ts')['onceProcessor'];
  readonly once: typeof import('../../src/guard/once.ts')['once'];
  readonly Lock: typeof import('../../src/lock/lock.ts')['Lock'];
  /** Stands where the library has its own class of that name. */
  readonly RedisCache: CacheClass;
}

/** The rules by which a datastore decides. */
export type Rules = typeof import('../../src/cache/line-rules.ts') &
  typeof import('../../src/cache/lock-rules.ts');

/** The library as two programs. */
export interface LibraryTexts {
  readonly guard: string;
  readonly rules: string;
}

export class Library {
  readonly #guards: Pool<Omit<Guard, 'RedisCache'> & { refused: (error: Error) => Error }>;
  readonly #rules: Pool<Rules>;

  constructor({ guard, rules }: LibraryTexts) {
    this.#guards = new Pool(guard);
    this.#rules = new Pool(rules);
  }

  guardFor(host: Host): Guard {
    const { exports, RedisCache } = this.#guards.take(host);
    const { onceProcessor, once, Lock } = exports;
    return { onceProcessor, once, Lock, RedisCache };
  }

  rulesFor(host: Host): Rules {
    return this.#rules.take(host).exports;
  }

  /** A history is over: its processes do nothing any more. */
  reclaim(): void {
    this.#guards.reclaim();
    this.#rules.reclaim();
  }
}

/** Evaluations of one program, used again by one history after the other. */
class Pool<Exports> {
  readonly #evaluate: (...args: unknown[]) => void;
  readonly #all: Evaluation<Exports>[] = [];
  #taken = 0;

  constructor(text: string) {
    this.#evaluate = new Function('module', 'exports', ...NAMES, text) as never;
  }

  take(host: Host): Evaluation<Exports> {
    let evaluation = this.#all[this.#taken++];
    if (evaluation) {
      evaluation.reset(host);
    } else {
      evaluation = new Evaluation(this.#evaluate, host, this.#all.length);
      this.#all.push(evaluation);
    }
    return evaluation;
  }

  reclaim(): void {
    this.#taken = 0;
  }
}

const NAMES = [
  ...(['require', 'globalThis', 'process', 'performance', 'Date', 'Math', 'Map', 'Set'] as const),
  ...(['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate'] as const),
];

class Evaluation<Exports> {
  readonly exports: Exports;
  readonly RedisCache: CacheClass;
  #host: Host;
  /** The maps and sets that are module state, as they were at first. */
  readonly #states: {
    readonly state: Map<unknown, unknown> | Set<unknown>;
    readonly first: readonly any[];
  }[];

  constructor(evaluate: (...args: unknown[]) => void, host: Host, nth: number) {
    this.#host = host;
    this.RedisCache = cacheClassFor(error =>
      (this.exports as { refused(error: Error): Error }).refused(error),
    );
    const created: (Map<unknown, unknown> | Set<unknown>)[] = [];
    let isLoading = true;
    const note = (state: Map<unknown, unknown> | Set<unknown>) => isLoading && created.push(state);
    class NotedMap<Key, Value> extends Map<Key, Value> {
      constructor(entries?: Iterable<readonly [Key, Value]>) {
        super(entries);
        note(this);
      }
    }
    class NotedSet<Item> extends Set<Item> {
      constructor(items?: Iterable<Item>) {
        super(items);
        note(this);
      }
    }
    const globals = { ...this.#globals(nth), Map: NotedMap, Set: NotedSet };
    const module = { exports: {} };
    evaluate(module, module.exports, ...NAMES.map(name => globals[name]));
    this.exports = module.exports as Exports;
    isLoading = false;
    this.#states = created.map(state => ({ state, first: [...state] }));
  }

  /** Gives it to another process. */
  reset(host: Host): void {
    this.#host = host;
    for (const { state, first } of this.#states) {
      state.clear();
      for (const item of first) {
        if (state instanceof Map) state.set(item[0], item[1]);
        else state.add(item);
      }
    }
  }

  #globals(nth: number) {
    const host = (): Host => this.#host;
    const clear = (timer: Timer | undefined): void => {
      if (timer) timer.isCleared = true;
    };
    const modules: Record<string, unknown> = {
      'simulation:cache': { RedisCache: this.RedisCache },
      // Tokens of different processes differ.
      'node:crypto': { ...CRYPTO, randomBytes: (n: number) => Buffer.alloc(n, nth) },
      'node:os': { hostname: () => `host-${nth}` },
      'node:diagnostics_channel': { channel: () => SILENT_CHANNEL },
      'node:timers/promises': {
        setTimeout: (ms: number, value: unknown, options?: { signal?: AbortSignal }) =>
          host().sleepUnlessAborted(ms, value, options),
      },
    };
    const timers = {
      setTimeout: (run: () => void, ms?: number, ...args: unknown[]) => host().setTimeout(run, ms, ...args),
      clearTimeout: clear,
      setInterval: (run: () => void, ms: number) => host().setInterval(run, ms),
      clearInterval: clear,
      setImmediate: (run: () => void, ...args: unknown[]) => host().setImmediate(run, ...args),
    };
    return {
      ...timers,
      globalThis: { ...timers, queueMicrotask },
      require: (name: string) => modules[name] ?? process.getBuiltinModule(name),
      process: {
        pid: 1,
        env: {},
        nextTick: (run: (...args: unknown[]) => void, ...args: unknown[]) =>
          host().nextTick(() => run(...args)),
        emitWarning: () => {},
        getBuiltinModule: (name: string) => modules[name],
      },
      performance: { now: () => host().monotonic() },
      Date: { now: () => host().wall() },
      Math: Object.create(Math, { random: { value: () => host().random.next() } }),
    };
  }
}

const CRYPTO = process.getBuiltinModule('node:crypto');
const SILENT_CHANNEL = { hasSubscribers: false, publish(): void {} };
