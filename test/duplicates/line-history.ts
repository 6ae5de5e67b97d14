/** What became of the jobs of one key, and what of it the documented guarantees forbid. */

import type { Job } from 'bullmq';
import type { EnterResult, EnterStep, LeaveResult, LeaveStep, RenewStep } from '../../src/cache/contract.ts';
import { jobOfOwner } from '../../src/key/owner-id.ts';
import type { LockHandle } from '../../src/lock/lock-handle.ts';
import type { StoreObserver } from './mortal-cache.ts';

export interface Rules {
  readonly whenLocked: 'in-order' | 'keep-last' | 'replace';
  readonly concurrency: number;
  readonly holdThroughRetries: boolean;
  readonly ttl: number;
  /** On PostgreSQL BullMQ lists the active jobs by their position in the queue: a LIFO job stands there as handed out before. */
  readonly listsInOrder: boolean;
}

/** When a job says that it was created: really, long ago, or far ahead. */
export type Created = 'now' | 'back' | 'ahead';

/** How a run ends. */
export type Ending = 'complete' | 'fail' | 'fail for good' | 'delay itself';

/** One time that a worker fetched a job. Times are in ms on the monotonic clock. */
interface Fetch {
  readonly nth: number;
  readonly at: number;
}

/** A run of a job that is under way. */
export interface Run {
  readonly version: number;
  readonly worker: number;
  readonly lock: LockHandle;
  end(how: Ending): void;
}

/** A job that joined the line, or acquired the key, for the first time. */
interface Entry {
  /** The fetch after which it did. */
  readonly nth: number;
  /** It may stand in any order with those that were handed out before it. */
  readonly isLoose: boolean;
}

class JobRecord {
  readonly version: number;
  readonly id: string;
  readonly timestamp: number;
  readonly created: Created;
  /** Its queue has given it its id. */
  readonly isNumbered: boolean;
  readonly fetches = new Map<number, Fetch>();
  entry: Entry | undefined;
  /** The fence of the first time that it acquired the key. */
  firstFence: number | undefined;
  /** How it acquired the key last: because it had a reservation or a lease of its own? */
  lastGrant: { readonly fence: number; readonly goesOn: boolean; readonly attempt: number } | undefined;
  /** How it has released the key last. */
  lastLeave: { readonly attempt: number | undefined; readonly isReserving: boolean } | undefined;
  /** The key is reserved for it. */
  isReserved = false;
  /** The fences of its runs that succeeded. */
  readonly succeeded: number[] = [];
  wasSkipped = false;
  wasRemoved = false;
  /** When it was skipped, removed, or has failed for good. */
  endedAt = Number.POSITIVE_INFINITY;

  constructor(version: number, job: Job, created: Created) {
    this.version = version;
    this.id = job.id as string;
    this.timestamp = job.timestamp;
    this.created = created;
    this.isNumbered = /^\d+$/.test(this.id);
  }

  get lastAttempt(): number {
    return Math.max(0, ...this.fetches.keys());
  }
}

/** In which state BullMQ has a job when all is over. */
export interface FinalState {
  readonly state: string;
  readonly failedReason: string | undefined;
}

/** As failures name themselves that a test has asked for. */
export const ASKED_TO_FAIL = 'asked to fail';
/** On a busy machine a cache may not answer within a ttl of a quarter of a second. */
const UNDECIDED = 'the cache did not answer in time';

export class History implements StoreObserver {
  readonly violations: string[] = [];
  readonly rules: Rules;
  readonly running: Set<Run> = new Set();
  readonly #jobs: Map<string, JobRecord> = new Map<string, JobRecord>();
  readonly #story: string[] = [];
  readonly #began = performance.now();
  /** Of jobs whose worker crashed before they had asked for the key. They are in the list of active jobs until they are fetched again. */
  readonly #deadUnasked = new Set<JobRecord>();
  readonly #leases = new Map<string, JobRecord>();
  /** When the last step of a lease was sent that granted or renewed it, by its token. */
  readonly #confirmedAt = new Map<string, number>();
  readonly #tokens = new Map<number, string>();
  readonly #fences = new Set<number>();
  #fetches = 0;
  #lastGranted: JobRecord | undefined;

  constructor(rules: Rules) {
    this.rules = rules;
  }

  get #jobList(): JobRecord[] {
    return [...this.#jobs.values()];
  }

  /** The story so far, one event a line. */
  toString(): string {
    return this.#story.join('\n');
  }

  tell(what: string): void {
    this.#story.push(`${(performance.now() - this.#began).toFixed(0).padStart(6)} ms  ${what}`);
  }

  /** @throws Error a guarantee was violated: says which, and how it came to that. */
  check(): void {
    if (this.violations.length === 0) return;
    throw new Error(`${this.violations.join('\n')}\n\n${JSON.stringify(this.rules)}\n${this}`);
  }

  added(version: number, job: Job, created: Created): void {
    this.#jobs.set(job.id as string, new JobRecord(version, job, created));
    this.tell(
      `job ${version} is added${job.id === String(version) ? '' : ` as ${job.id}`} (created: ${created})`,
    );
  }

  fetched(job: Job, worker: number): void {
    const record = this.#of(job.id as string);
    this.#deadUnasked.delete(record);
    record.fetches.set(job.attemptsStarted, { nth: ++this.#fetches, at: performance.now() });
    this.tell(`worker ${worker} fetches job ${record.version} (start ${job.attemptsStarted})`);
  }

  entered({ owner, attempt, token }: EnterStep, result: EnterResult, sentAt: number): void {
    const record = this.#of(jobOfOwner(owner)?.jobId as string);
    const { version } = record;
    const fetch = record.fetches.get(attempt) as Fetch;
    const joined = result.acquired || result.standing?.is === 'in-line';
    if (joined && !record.entry) {
      // A job gives way to those before it, but not for ever.
      const isLate = performance.now() - fetch.at > this.rules.ttl / 3;
      record.entry = { nth: fetch.nth, isLoose: isLate || this.#deadUnasked.size > 0 };
    }
    if (!result.acquired) {
      const { record: holder, standing } = result;
      const by = holder && `${jobOfOwner(holder.owner)?.jobId} (${holder.state})`;
      this.tell(`  job ${version} finds ${by ?? 'nobody'}, and is ${JSON.stringify(standing ?? 'refused')}`);
      return;
    }
    const { fence, reclaimed, next } = result;
    this.tell(
      `  job ${version} acquires the key (fence …${fence % 1e9}${reclaimed ? ', reclaimed' : ''}), next: ${next ?? '-'}`,
    );
    if (this.#fences.has(fence)) this.violations.push(`job ${version} has the fence of another acquisition`);
    this.#fences.add(fence);
    this.#leases.set(token, record);
    this.#tokens.set(fence, token);
    this.#confirmedAt.set(token, sentAt);
    if (!record.firstFence) {
      record.firstFence = fence;
      this.#checkOrder(record);
    }
    const goesOn = reclaimed || record.isReserved;
    record.lastGrant = { fence, goesOn, attempt };
    if (!goesOn) this.#checkNotOlder(record, this.#lastGranted, fetch, attempt);
    record.isReserved = false;
    this.#lastGranted = record;
  }

  renewed({ token }: RenewStep, sentAt: number): void {
    this.#confirmedAt.set(token, sentAt);
  }

  /** When the last step was sent that granted or renewed a lease, as far as its process knows. */
  confirmedAt(fence: number): number {
    return this.#confirmedAt.get(this.#tokens.get(fence) ?? '') ?? 0;
  }

  left({ token, reservation }: LeaveStep, { released, next }: LeaveResult): void {
    const record = this.#leases.get(token);
    if (!record) return;
    const how = released ? (reservation ? 'reserves' : 'releases') : 'does not hold';
    this.tell(`  job ${record.version} ${how} the key, next: ${next ?? '-'}`);
    if (released && reservation && !record.wasRemoved) record.isReserved = true;
    if (released)
      record.lastLeave = { attempt: record.lastGrant?.attempt, isReserving: reservation !== undefined };
  }

  /** A run has failed, or moved itself. One that was replaced reserves nothing. */
  hasReserved(
    id: string,
    attempt: number,
    { isReplaced, runsAgain }: { readonly isReplaced: boolean; readonly runsAgain: boolean },
  ): void {
    const { version, lastLeave } = this.#of(id);
    const isExpected = runsAgain && !isReplaced && this.rules.holdThroughRetries;
    if (lastLeave?.attempt !== attempt || lastLeave.isReserving === isExpected) return;
    this.violations.push(`job ${version} ${isExpected ? 'has not reserved' : 'has reserved'} its key`);
  }

  started(run: Run): void {
    const others = [...this.running].filter(({ version, lock }) => {
      // A run whose signal has aborted knows that it has lost its lock. One that is replaced holds it until it has ended.
      return version !== run.version && (lock.held || !lock.signal.aborted);
    });
    const reserved = this.#jobList.filter(({ isReserved, version }) => isReserved && version !== run.version);
    this.tell(`  job ${run.version} runs`);
    this.running.add(run);
    if (run.lock.signal.aborted || others.length + reserved.length < this.rules.concurrency) return;
    const beside = [
      ...others.map(({ version }) => `job ${version}`),
      ...reserved.map(({ version }) => `the reservation of job ${version}`),
    ];
    this.violations.push(`job ${run.version} runs beside ${beside.join(' and ')}`);
  }

  ended(run: Run, how: Ending): void {
    this.running.delete(run);
    this.tell(`job ${run.version} is to ${how}`);
  }

  /** A worker crashed. */
  crashed(worker: number, unasked: readonly string[]): void {
    this.tell(`worker ${worker} crashes`);
    for (const run of this.running) if (run.worker === worker) this.running.delete(run);
    for (const id of unasked) {
      const record = this.#of(id);
      if (!record.entry) this.#deadUnasked.add(record);
    }
  }

  /** Its processor was never called, and it has completed. */
  skipped(id: string, attempt: number): void {
    const record = this.#of(id);
    const { version } = record;
    this.tell(`  job ${version} is skipped`);
    if (this.rules.whenLocked === 'in-order') this.violations.push(`job ${version} is skipped`);
    if (record.isReserved) this.violations.push(`job ${version} is skipped in the middle of its work`);
    const since = record.fetches.get(attempt)?.at as number;
    const isExcuse = (other: JobRecord) =>
      other !== record &&
      !isNewer(record, other) &&
      (other.firstFence !== undefined || (other.fetches.size > 0 && other.endedAt >= since));
    if (!this.#jobList.some(isExcuse))
      this.violations.push(`job ${version} is skipped, and there is no newer one`);
    record.wasSkipped = true;
    record.endedAt = performance.now();
  }

  /** BullMQ is about to remove it. */
  removing(id: string): void {
    const record = this.#of(id);
    record.isReserved = false;
    record.wasRemoved = true;
    record.endedAt = performance.now();
    this.tell(`job ${record.version} is removed`);
  }

  /** BullMQ has the job still. */
  notRemoved(id: string): void {
    this.#of(id).wasRemoved = false;
    this.tell(`job ${this.#of(id).version} was not removed`);
  }

  succeeded(id: string): void {
    const record = this.#of(id);
    record.succeeded.push(record.lastGrant?.fence as number);
    this.tell(`  job ${record.version} has completed`);
  }

  failed(id: string, error: Error, isFinal: boolean): void {
    const record = this.#of(id);
    this.tell(`  job ${record.version} fails${isFinal ? ' for good' : ''}: ${error.message}`);
    if (isFinal) record.endedAt = performance.now();
  }

  isNewestRun(id: string, attempt: number): boolean {
    return this.#of(id).lastAttempt === attempt;
  }

  /** All jobs have come to their end. */
  finished(states: ReadonlyMap<string, FinalState>): void {
    for (const record of this.#jobList) {
      const { version, wasRemoved, succeeded, wasSkipped } = record;
      const { state = 'nowhere', failedReason } = states.get(record.id) ?? {};
      const isRight =
        wasRemoved ||
        (state === 'completed' && (succeeded.length > 0 || wasSkipped)) ||
        (state === 'failed' && (failedReason === ASKED_TO_FAIL || failedReason?.includes(UNDECIDED)));
      if (!isRight)
        this.violations.push(`job ${version} is ${state} in the end (${failedReason ?? 'it never ran'})`);
      if (succeeded.length > 1)
        this.violations.push(`job ${version} has run to success ${succeeded.length} times`);
    }
    if (this.rules.whenLocked === 'in-order') return;
    const last = this.#jobList
      .filter(({ succeeded }) => succeeded.length > 0)
      .sort((a, b) => (a.succeeded.at(-1) as number) - (b.succeeded.at(-1) as number))
      .at(-1);
    for (const record of this.#jobList) {
      if (
        record === last ||
        record.wasRemoved ||
        record.wasSkipped ||
        states.get(record.id)?.state === 'failed'
      )
        continue;
      if (!last || (isNewer(record, last) && !last.lastGrant?.goesOn)) {
        this.violations.push(
          `the last run is that of job ${last?.version}, and not of job ${record.version}`,
        );
      }
    }
  }

  /** A job runs when at most as many of those that were handed out before it have not run as have places beside it. */
  #checkOrder({ version, entry }: JobRecord): void {
    if (this.rules.whenLocked !== 'in-order' || entry?.isLoose) return;
    const passed = this.#jobList.filter(other => {
      const wasBefore = other.entry && !other.entry.isLoose && other.entry.nth < (entry?.nth as number);
      return (
        wasBefore && other.firstFence === undefined && !other.wasRemoved && other.endedAt > performance.now()
      );
    });
    if (passed.length < this.rules.concurrency) return;
    const names = passed.map(other => `job ${other.version}`).join(', ');
    this.violations.push(`job ${version} runs before ${names}, which was handed out earlier`);
  }

  /** No older job runs after a newer one, unless it is in the middle of its work. */
  #checkNotOlder(record: JobRecord, last: JobRecord | undefined, fetch: Fetch, attempt: number): void {
    if (this.rules.whenLocked === 'in-order' || !last || last === record || !isNewer(last, record)) return;
    if (last.wasRemoved || (last.endedAt < Number.POSITIVE_INFINITY && last.succeeded.length === 0)) return;
    // On a free key a job that comes for the first time is compared by its queue's numbers only.
    if (attempt === 1 && !(last.isNumbered && record.isNumbered)) return;
    // Who has run last is not remembered for ever.
    if (attempt === 1 && performance.now() - fetch.at > this.rules.ttl) return;
    if (attempt === 1 && (last.lastGrant?.fence as number) / 1000 < Date.now() - 2 * this.rules.ttl) return;
    this.violations.push(`job ${record.version} runs after job ${last.version}, which is newer`);
  }

  #of(id: string): JobRecord {
    const record = this.#jobs.get(id);
    if (!record) throw new Error(`there is no job ${id}`);
    return record;
  }
}

/**
 * Whether a job is certainly newer than another: by the numbers of their queue, else by the times of their creation. A time that was
 * made up decides nothing, except that one long ago is before all others.
 */
function isNewer(one: JobRecord, other: JobRecord): boolean {
  if (one.created !== 'now' || one.version < other.version) return false;
  const areNumbered = one.isNumbered && other.isNumbered;
  if (other.created === 'now') return areNumbered || one.timestamp > other.timestamp;
  return areNumbered || other.created === 'back';
}
