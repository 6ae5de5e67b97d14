/**
 * What has happened, as an observer sees it who stands outside of the library: which lease the datastore has granted to whom and until
 * when, which jobs BullMQ has handed out, and which of them run. The checks are made on these facts alone.
 */

import { isDeepStrictEqual } from 'node:util';
import type { AcquireStep, EnterStep } from '../../src/cache/contract.ts';
import type { LockHandle } from '../../src/lock/lock-handle.ts';
import { type CallPlan, type OptionsPlan, type RunPlan, waitsInSlot } from './plan.ts';
import type { SimulatedProcess } from './process.ts';
import { CANCELLED, type JobModel, type WorkerModel } from './worker-model.ts';

/** One acquisition, by the datastore's answers. Times with `At` are virtual. */
export interface Lease {
  readonly token: string;
  readonly storedKey: string;
  readonly owner: string;
  readonly attempt: number;
  readonly fence: number;
  readonly ttl: number;
  readonly grantedAt: number;
  /** By the server's clock. */
  expiresAt: number;
  state: 'held' | 'reserved' | 'done' | 'over';
  /** Why it is over. Nobody can know of the others but by a renewal. */
  end: 'released' | 'expired' | 'reclaimed' | 'forced' | 'lost' | undefined;
  endedAt: number;
}

/** One time that BullMQ has handed out a job. */
export interface Handout {
  /** The order of handing out. */
  readonly nth: number;
  readonly at: number;
  readonly attempt: number;
}

/** Work under a lock: a run of a job, or what a caller does. */
export interface Work {
  readonly name: string;
  readonly owner: string;
  readonly storedKey: string;
  readonly process: SimulatedProcess;
  readonly lock: LockHandle;
  readonly signal: AbortSignal;
  readonly startedAt: number;
  /** When its signal emitted the event. */
  abortedAt: number | undefined;
  hasReleased: boolean;
}

/** One run of a job's own processor. */
export interface Run extends Work {
  readonly job: JobFacts;
  readonly attempt: number;
  /** The job as its worker has it. */
  readonly model: JobModel;
  readonly plan: RunPlan;
  endedAt: number | undefined;
  outcome: Outcome | undefined;
}

export function isRun(work: Work): work is Run {
  return 'job' in work;
}

export type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** A call of `once`, or of a `Lock`. */
export interface Call {
  readonly name: string;
  readonly storedKey: string;
  readonly process: SimulatedProcess;
  readonly plan: CallPlan;
  readonly calledAt: number;
  endedAt: number | undefined;
  /** As whom it was granted the key, last. */
  owner: string | undefined;
  /** What its work has returned or thrown, where it began. */
  outcome: Outcome | undefined;
}

/** When a job first joined the line of its key, or acquired it. */
export interface Entry {
  /** The handout after which it did. */
  readonly nth: number;
  /** It may stand in any order with the others: the docs except it. */
  isLoose: boolean;
  readonly joined: boolean;
  readonly at: number;
}

export interface JobFacts {
  /** The number of the job in the history. */
  readonly nth: number;
  readonly queue: number;
  readonly id: string;
  readonly owner: string;
  readonly storedKey: string;
  readonly amount: number;
  readonly timestamp: number;
  /** Its queue gave it its id. */
  readonly isNumbered: boolean;
  readonly parent: JobFacts | undefined;
  /** Its producer chose its time. */
  readonly hasOddTime: boolean;
  readonly runPlans: readonly RunPlan[];
  readonly handouts: Handout[];
  readonly runs: Run[];
  /** Refused by the datastore, by attempt. */
  readonly refusedIn: Set<number>;
  /** When a worker that had it has cancelled it last. */
  cancel: { readonly at: number; readonly worker: WorkerModel } | undefined;
  /** It has found its key reserved for other data. */
  wasMismatched: boolean;
  entry: Entry | undefined;
  firstGrantAt: number | undefined;
  /** BullMQ has it no more, or will not run it again. */
  endedAt: number | undefined;
  end: 'completed' | 'failed' | 'removed' | undefined;
  /** It completed without a run. */
  wasSkipped: boolean;
  successes: number;
}

/** What was found to be wrong. */
export interface Violation {
  /** The number of the guarantee in the docs. */
  readonly guarantee: number;
  readonly message: string;
}

/** Troubles that the documentation excepts, each with the last time at which it may have had an effect. */
export interface Troubles {
  /** Locks were lost: a restart without data, a fail-over. */
  dataLostAt: number;
  /** The server's clock jumped. */
  serverJumpedAt: number;
  /** The server was down, or refused writes. */
  serverUntil: number;
  /** A process stood still or died. */
  processUntil: number;
  /** A connection was lost, stalled or slow. */
  networkUntil: number;
  /** An operator intervened. */
  operatorAt: number;
  /** A process' wall clock jumped. */
  clockJumpedAt: number;
}

export class Facts {
  /** Those of the first version of the program. */
  readonly options: OptionsPlan;
  /** Those of all versions. */
  readonly #versions: readonly OptionsPlan[];
  readonly jobs: JobFacts[] = [];
  readonly byOwner: Map<string, JobFacts> = new Map<string, JobFacts>();
  readonly leases: Map<string, Lease> = new Map<string, Lease>();
  readonly violations: Violation[] = [];
  /** When a key was last refused to anyone. */
  readonly refusedAt: Map<string, number> = new Map<string, number>();
  readonly activeWork: Set<Work> = new Set<Work>();
  readonly calls: Call[] = [];
  /** Those that have not ended. */
  readonly openCalls: Set<Call> = new Set<Call>();
  readonly #callers = new Map<string, Call>();
  readonly troubles: Troubles = {
    dataLostAt: -Infinity,
    serverJumpedAt: -Infinity,
    serverUntil: -Infinity,
    processUntil: -Infinity,
    networkUntil: -Infinity,
    operatorAt: -Infinity,
    clockJumpedAt: -Infinity,
  };
  /** When a process was replaced last. */
  deployedAt: number = Number.NEGATIVE_INFINITY;
  /** The wall clocks of the workers differ by minutes or more. */
  readonly haveClocksFarApart: boolean;
  /** The locks are not kept on the queue's own connection. */
  readonly isCacheNamed: boolean;
  readonly #now: () => number;
  readonly #serverNow: () => number;
  readonly #ofKeys = new Map<string, Lease[]>();
  readonly #trace: string[] | undefined;
  handedOut = 0;

  /** @param trace - keeps a line for each thing that happens. */
  constructor(
    versions: readonly OptionsPlan[],
    now: () => number,
    serverNow: () => number,
    {
      trace,
      haveClocksFarApart,
      isCacheNamed,
    }: { readonly trace: boolean; readonly haveClocksFarApart: boolean; readonly isCacheNamed: boolean },
  ) {
    this.isCacheNamed = isCacheNamed;
    this.haveClocksFarApart = haveClocksFarApart;
    this.options = versions[0] as OptionsPlan;
    this.#versions = versions;
    this.#now = now;
    this.#serverNow = serverNow;
    this.#trace = trace ? [] : undefined;
  }

  get now(): number {
    return this.#now();
  }

  get serverNow(): number {
    return this.#serverNow();
  }

  /** Where versions differ, the higher number is what can run at most. */
  get concurrency(): number {
    return Math.max(...this.#versions.map(({ concurrency = 1 }) => concurrency));
  }

  /** The longest of all versions. */
  get dedupeFor(): number {
    return Math.max(...this.#versions.map(({ dedupeFor = 0 }) => dedupeFor));
  }

  get haveOneConcurrency(): boolean {
    return this.#versions.every(({ concurrency = 1 }) => concurrency === this.concurrency);
  }

  /** All versions treat duplicates alike. */
  get haveOneForm(): boolean {
    const [first, ...others] = this.#versions;
    return others.every(one => isDeepStrictEqual(one.whenLocked, first?.whenLocked));
  }

  /** Those of some version wait in their slots. */
  get waitInSlots(): boolean {
    return this.#versions.some(({ whenLocked }) => waitsInSlot(whenLocked));
  }

  get isOneVersion(): boolean {
    return this.#versions.length === 1;
  }

  get isTracing(): boolean {
    return this.#trace !== undefined;
  }

  get trace(): readonly string[] {
    return this.#trace ?? [];
  }

  /** @param what - called only where a trace is kept. */
  tell(what: () => string): void {
    this.#trace?.push(`${this.now.toFixed(2).padStart(9)}  ${what()}`);
  }

  violate(guarantee: number, message: string): void {
    this.violations.push({ guarantee, message });
    this.tell(() => `!! guarantee ${guarantee}: ${message}`);
  }

  /** The leases of a key that have not ended, those that are kept as done or reserved included. */
  leasesOf(storedKey: string): readonly Lease[] {
    const leases = this.#ofKeys.get(storedKey);
    if (!leases) return [];
    for (const lease of leases) {
      if (lease.expiresAt <= this.serverNow) this.endLease(lease, 'expired');
    }
    return this.#ofKeys.get(storedKey) as Lease[];
  }

  grant(step: AcquireStep | EnterStep, fence: number): Lease {
    const { token, storedKey, owner, attempt, ttl } = step;
    const lease: Lease = {
      token,
      storedKey,
      owner,
      attempt,
      fence,
      ttl,
      grantedAt: this.now,
      expiresAt: this.serverNow + ttl,
      state: 'held',
      end: undefined,
      endedAt: Number.POSITIVE_INFINITY,
    };
    this.leases.set(token, lease);
    const ofKey = this.#ofKeys.get(storedKey) ?? [];
    this.#ofKeys.set(storedKey, [...ofKey, lease]);
    return lease;
  }

  endLease(lease: Lease, end: NonNullable<Lease['end']>): void {
    if (lease.state === 'over') return;
    lease.state = 'over';
    lease.end = end;
    lease.endedAt = this.now;
    const rest = (this.#ofKeys.get(lease.storedKey) ?? []).filter(one => one !== lease);
    this.#ofKeys.set(lease.storedKey, rest);
  }

  /** A replica has the lease as it was before. */
  revive(token: string, state: 'running' | 'reserved' | 'done', expiresAt: number): void {
    const lease = this.leases.get(token);
    if (!lease) return;
    this.#ofKeys.set(lease.storedKey, [...(this.#ofKeys.get(lease.storedKey) ?? []), lease]);
    const isKept = state === 'running' ? 'held' : state;
    Object.assign(lease, { state: isKept, expiresAt, end: undefined, endedAt: Number.POSITIVE_INFINITY });
  }

  allLeases(): Lease[] {
    return [...this.#ofKeys.keys()].flatMap(storedKey => [...this.leasesOf(storedKey)]);
  }

  /** Calls back later. */
  after: (ms: number, run: () => void) => void = () => {};

  /** Whether nothing of these kinds was broken so far. */
  isCalm(...kinds: readonly (keyof Troubles)[]): boolean {
    return kinds.every(kind => this.troubles[kind] === Number.NEGATIVE_INFINITY);
  }

  note(kind: keyof Troubles, until: number = this.now): void {
    this.troubles[kind] = Math.max(this.troubles[kind], until);
  }

  /** A caller was granted a key, and knows as whom. */
  noteOwner(call: Call, owner: string): void {
    call.owner = owner;
    this.#callers.set(owner, call);
  }

  nameOf(owner: string): string {
    const job = this.byOwner.get(owner);
    return job ? `job ${job.nth}` : (this.#callers.get(owner)?.name ?? 'a caller');
  }
}

/** Work that was done for a key: a run of a job, or that of a caller. */
interface Done {
  readonly owner: string | undefined;
  readonly value: unknown;
  readonly endedAt: number | undefined;
}

export function doneFor({ jobs, calls }: Facts, { storedKey }: Pick<Work, 'storedKey'>): Done[] {
  const runs = jobs.flatMap(job => job.runs);
  const ofKey = [...runs, ...calls].filter(work => work.storedKey === storedKey);
  return ofKey.flatMap(({ owner, outcome, endedAt }) =>
    outcome && 'value' in outcome ? [{ owner, value: outcome.value, endedAt }] : [],
  );
}

/** Whether that is why a job failed: it was cancelled while it waited for its key. */
export function isOfCancel(reason: string, { cancel }: JobFacts): boolean {
  return reason === CANCELLED && cancel !== undefined;
}

export function ancestorsOf({ parent }: JobFacts): JobFacts[] {
  return parent ? [parent, ...ancestorsOf(parent)] : [];
}

/** The run under a lease. After a loss of data and a clock that was set back a fence may come again. */
export function runUnder(lease: Lease | undefined, facts: Facts): Run | undefined {
  return lease && facts.byOwner.get(lease.owner)?.runs.findLast(({ lock }) => lock.fence === lease.fence);
}

/** The run of a job's processor that belongs to one time that a worker has got the job. */
export function runOf(job: JobFacts, model: JobModel): Run | undefined {
  return job.runs.find(run => run.model === model);
}
