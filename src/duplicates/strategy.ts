/** What every duplicate strategy is: one object a form of `whenLocked`, chosen when the options are parsed. */

import type { RunningJob } from '../bullmq/job.ts';
import type { LineKind, LockCache, Standing } from '../cache/contract.ts';
import type { Holder } from '../core/holder.ts';
import { shown } from '../core/printable.ts';
import { type Parsed, type Parser, parseOptions } from '../core/validation.ts';
import type { Outcome } from '../events/events.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { AcquireAttempt, LockRequest } from '../lock/lock-request.ts';

/** Work that asks for its key: a job, or the call of a function. */
export interface GuardedWork {
  readonly request: LockRequest;
  /** Aborts when BullMQ cancels the job. */
  readonly signal: AbortSignal | undefined;
  /** It runs whatever its key's state: the guard only observes. */
  readonly isObserved: boolean;
  /**
   * Runs the work under its lock, and releases it.
   * @param wrap - runs something around the work, before the lock is released.
   */
  run(handle: LockHandle, wrap?: (work: () => Promise<unknown>) => Promise<unknown>): Promise<unknown>;
  /** Calls the user's function for duplicates with the arguments that this kind of work documents. */
  callHandler(handler: DuplicateHandler, holder: Holder): unknown;
}

/** A job that asks for its key. */
export interface GuardedJob extends GuardedWork {
  readonly job: RunningJob;
  /** BullMQ's own. */
  readonly token: string | undefined;
  /** Its locks are kept on its queue's own connection. A cache that was named may be shared with queues of other servers. */
  readonly hasOwnCache: boolean;
  /** The option `scope`; absent where it is the queue. */
  readonly scope: string | undefined;
  /** How many may hold the key at once. */
  readonly concurrency: number;
  /** The name that the key of another job of the queue has in the cache; `undefined` where none can be built. */
  storedKeyOf(job: RunningJob): string | undefined;
}

/** The user's function that `whenLocked` may be. */
export type DuplicateHandler = (...args: any[]) => unknown;

/** What becomes of work that finds its key held. */
export interface DuplicateStrategy<Work extends GuardedWork = GuardedWork> {
  /** What it can't do without. */
  readonly needs: {
    /** BullMQ's signal, to end a wait. */
    readonly signal?: boolean;
    /** Methods of the cache. */
    readonly methods?: readonly (keyof LockCache)[];
    /** `concurrency` is 1. */
    readonly onePlace?: boolean;
  };
  /** The kind of line in which its duplicates are parked. Absent where they are not. */
  readonly line?: LineKind;
  /** A duplicate that is parked calls the holder. */
  readonly interrupts?: boolean;
  /** It may take long to acquire, because it waits for the key. */
  readonly waits?: boolean;
  /** What becomes of a duplicate, as the mode `'observe'` reports it. */
  readonly outcome: Outcome;
  /** What becomes of a duplicate of work that was done (`dedupeFor`), where that is something else. */
  readonly whenDone?: Outcome;
  /**
   * Asks for the key.
   * @throws CacheError the cache could not decide.
   */
  acquire(work: Work): Promise<AcquireAttempt>;
  /**
   * The key is held: decides what becomes of the duplicate. What it returns is the result, what it throws the failure.
   * @param standing - where it stands in the line of the key, if there is one.
   */
  onHeld(work: Work, holder: Holder, standing: Standing | undefined): unknown;
  /** The key is acquired: runs the work, and releases. */
  run(work: Work, handle: LockHandle): Promise<unknown>;
  /** The key was released, and it is this owner's turn in its line. */
  onNext?(work: Work, owner: string): void;
  /** The work was done, and these owners share its result. */
  onAnswered?(work: Work, owners: readonly string[]): void;
  /** The work is over: it has run, or has become what its strategy makes of a duplicate, or has failed. */
  onEnd?(work: Work): void;
}

/** How most strategies acquire and run: they ask once, and add nothing to the work. */
export const plain: Pick<DuplicateStrategy, 'needs' | 'acquire' | 'run'> = {
  needs: {},
  acquire: ({ request }) => request.tryAcquire(),
  run: (work, handle) => work.run(handle),
};

/** What a form of `whenLocked` is parsed with. */
export interface ParseContext {
  /** How errors name the option: `onceProcessor: option 'whenLocked'`. */
  readonly option: string;
  readonly raiseIfLock: boolean;
}

/** One form of `whenLocked`. */
export interface StrategyForm<Work extends GuardedWork = any> {
  /** How it is written, for errors. */
  readonly usage: string;
  /** Whether `raiseIfLock: true` may stand beside it. */
  readonly takesRaiseIfLock?: boolean;
  /**
   * Makes the strategy, or nothing where `whenLocked` has another form.
   * @throws TypeError it has this form and a wrong value.
   */
  parse(whenLocked: unknown, context: ParseContext): DuplicateStrategy<Work> | undefined;
}

/**
 * Parses a form that is an object.
 * @param main - the field by which the form is recognised.
 * @param table - a parser for each of its fields.
 * @returns `undefined` where `whenLocked` has another form.
 * @throws TypeError it has a field of another form, or a wrong value.
 */
export function parseForm<Table extends Record<string, Parser<any>>>(
  whenLocked: unknown,
  { option }: ParseContext,
  main: keyof Table & string,
  table: Table,
): Parsed<Table> | undefined {
  if (typeof whenLocked !== 'object' || whenLocked === null || !(main in whenLocked)) return undefined;
  const other = Object.keys(whenLocked).find(field => !Object.hasOwn(table, field));
  if (other === undefined) return parseOptions(option, whenLocked, table);
  throw new TypeError(
    `${option} can't have '${shown(other)}' beside '${main}'; there are: ${Object.keys(table).join(', ')}`,
  );
}
