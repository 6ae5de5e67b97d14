/** Notes what the datastore and BullMQ do as facts, and lets the checks look at each of them. */

import type {
  AcquireResult,
  AcquireStep,
  EnterResult,
  EnterStep,
  LeaveStep,
  LineQuery,
  ReleaseStep,
  RenewStep,
} from '../../src/cache/contract.ts';
import type { StoredKey } from '../../src/cache/line-rules.ts';
import { isMismatch } from '../../src/cache/lock-rules.ts';
import type { LockEvent } from '../../src/events/events.ts';
import type { Check } from './checks/check.ts';
import { CHECKS } from './checks/index.ts';
import type { DatastoreObserver } from './datastore.ts';
import { type Call, type Facts, isRun, type JobFacts, type Lease, type Outcome, type Work } from './facts.ts';
import type { OptionsPlan } from './plan.ts';
import type { QueueModel, QueueObserver } from './queue-model.ts';
import type { StoredJob } from './stored-job.ts';
import type { JobModel, WorkerModel } from './worker-model.ts';

/** A job that comes to its key later than this after it was handed out is not waited for, in ms. */
const LATE_MS = 100;
/** What was broken so long ago can still have delayed a job that was handed out then, in ms. */
const AFTERMATH_MS = 3000;

export class Observer implements DatastoreObserver {
  readonly facts: Facts;
  #checks: readonly Check[] = [];

  constructor(facts: Facts) {
    this.facts = facts;
  }

  watch(queues: readonly QueueModel[]): void {
    this.#checks = CHECKS.map(make => make(this.facts, queues));
  }

  onAcquire(step: AcquireStep | EnterStep, result: AcquireResult | EnterResult): void {
    const { facts } = this;
    const job = facts.byOwner.get(step.owner);
    const name = facts.nameOf(step.owner);
    const line = 'line' in step ? step.line : undefined;
    if (job && line) this.#noteEntry(job, step, result);
    if (!result.acquired) {
      if (job && result.record?.state === 'reserved' && isMismatch(step, result.record))
        job.wasMismatched = true;
      if (result.record || isAnswered(result)) job?.refusedIn.add(step.attempt);
      if (result.record) facts.refusedAt.set(step.storedKey, facts.now);
      facts.tell(() => `  ${name} is refused ${step.storedKey}: ${describe(facts, result)}`);
      for (const check of this.#checks) check.onRefused?.(step, result, job);
      return;
    }
    const before = facts.leasesOf(step.storedKey);
    const known = facts.leases.get(step.token);
    const isRepeated = known?.state === 'held';
    facts.tell(
      () =>
        `  ${name} acquires ${step.storedKey} (run ${step.attempt}, fence …${result.fence % 1e8}${result.reclaimed ? ', reclaimed' : ''}${isRepeated ? ', again' : ''})`,
    );
    if (!isRepeated) {
      for (const lease of before) if (lease.owner === step.owner) facts.endLease(lease, 'reclaimed');
    }
    const lease = isRepeated ? known : facts.grant(step, result.fence);
    lease.expiresAt = facts.serverNow + step.ttl;
    if (job) job.firstGrantAt ??= facts.now;
    for (const check of this.#checks) check.onGranted?.({ step, result, lease, before, isRepeated, job });
  }

  onRenew(step: RenewStep, renewed: boolean): void {
    const { facts } = this;
    facts.leasesOf(step.storedKey);
    const lease = facts.leases.get(step.token);
    facts.tell(
      () =>
        `  ${lease ? facts.nameOf(lease.owner) : 'one that was granted nothing'} ${renewed ? 'renews' : "can't renew"} ${step.storedKey}`,
    );
    if (!renewed) return;
    for (const check of this.#checks) check.onRenewed?.(step, lease);
    if (lease?.state === 'held') lease.expiresAt = facts.serverNow + step.ttl;
  }

  onRelease(step: ReleaseStep | LeaveStep, released: boolean): void {
    const { facts } = this;
    facts.leasesOf(step.storedKey);
    const lease = facts.leases.get(step.token);
    facts.tell(
      () =>
        `  ${lease ? facts.nameOf(lease.owner) : 'one that was granted nothing'} ${released ? 'releases' : 'does not hold'} ${step.storedKey}${step.reservation ? ' and reserves it' : step.dedupeFor > 0 ? ' as done' : ''}`,
    );
    if (!released) return;
    for (const check of this.#checks) check.onReleased?.(step, lease);
    if (lease?.state !== 'held') return;
    if (step.reservation) {
      lease.state = 'reserved';
      lease.expiresAt = facts.serverNow + step.reservation.lastsFor;
    } else if (step.dedupeFor > 0) {
      lease.state = 'done';
      lease.expiresAt = facts.serverNow + step.dedupeFor;
    } else {
      facts.endLease(lease, 'released');
    }
  }

  /** A worker has cancelled a job that it has. */
  onCancelled(job: JobFacts, worker: WorkerModel): void {
    job.cancel = { at: this.facts.now, worker };
    this.facts.tell(() => `  job ${job.nth} is cancelled`);
    for (const check of this.#checks) check.onCancelled?.(job, worker);
  }

  onForceRelease(storedKey: string, fences: readonly number[], byOperator: boolean): void {
    const { facts } = this;
    for (const lease of facts.leasesOf(storedKey)) {
      if (!fences.includes(lease.fence)) continue;
      facts.tell(() => `  the lock of ${facts.nameOf(lease.owner)} on ${storedKey} is released by force`);
      if (!byOperator) for (const check of this.#checks) check.onFreed?.(lease);
      facts.endLease(lease, 'forced');
    }
  }

  onFoundHeld(storedKey: string): void {
    this.facts.refusedAt.set(storedKey, this.facts.now);
  }

  onStrikeOut({ storedKey, owner }: LineQuery, struck: boolean): void {
    const entry = this.facts.byOwner.get(owner)?.entry;
    // It joins anew if it comes again.
    if (struck && entry) entry.isLoose = true;
    if (struck)
      this.facts.tell(() => `  ${this.facts.nameOf(owner)} is struck out of the line of ${storedKey}`);
  }

  /** @param kept - the locks are as they were a while ago. */
  onDataLost(kept: ReadonlyMap<string, StoredKey>): void {
    const { facts } = this;
    for (const lease of facts.allLeases()) facts.endLease(lease, 'lost');
    // Lines are lost with the locks: their jobs join anew, in the order in which they come.
    for (const { entry } of facts.jobs) if (entry) entry.isLoose = true;
    for (const { places } of kept.values()) {
      for (const { token, state, expiresAt } of places) facts.revive(token, state, expiresAt);
    }
  }

  /** BullMQ's data are as they were a while ago too. */
  onQueuesRestored(queues: readonly QueueModel[]): void {
    for (const job of this.facts.jobs) {
      const stored = queues[job.queue]?.get(job.id);
      if (!stored) Object.assign(job, { end: 'removed', endedAt: this.facts.now });
      else if (stored.finishedOn === undefined) Object.assign(job, { end: undefined, endedAt: undefined });
    }
  }

  /** What is told of a queue. */
  ofQueue(queue: number): QueueObserver {
    const { facts } = this;
    const find = ({ id, timestamp }: StoredJob): JobFacts | undefined =>
      facts.jobs.findLast(job => job.queue === queue && job.id === id && job.timestamp === timestamp);
    return {
      onHandedOut: stored => {
        const job = find(stored);
        if (!job) return;
        job.handouts.push({ nth: facts.handedOut++, at: facts.now, attempt: stored.attemptsStarted });
        // A server that took over counts the job's runs anew.
        if (facts.isCalm('dataLostAt')) job.refusedIn.delete(stored.attemptsStarted);
        facts.tell(() => `job ${job.nth} is handed out (start ${stored.attemptsStarted})`);
        for (const check of this.#checks) check.onHandedOut?.(job, stored.attemptsStarted);
      },
      onFinished: (stored, how) => {
        const job = find(stored);
        if (!job) return;
        facts.tell(() => `job ${job.nth} is ${how}${how === 'failed' ? `: ${stored.failedReason}` : ''}`);
        const run = job.runs.findLast(({ attempt }) => attempt === stored.attemptsStarted);
        if (how === 'completed' && run) job.successes++;
        if (how === 'completed' && !run) job.wasSkipped = true;
        job.end = how;
        job.endedAt = facts.now;
        for (const check of this.#checks) check.onFinished?.(job, stored, how);
      },
      onRemoved: stored => {
        const job = find(stored);
        if (!job) return;
        facts.tell(() => `job ${job.nth} is removed`);
        job.end = 'removed';
        job.endedAt = facts.now;
      },
      onStalled: stored => facts.tell(() => `job ${find(stored)?.nth} has stalled`),
      onPromoted: stored => {
        const job = find(stored);
        if (!job) return;
        facts.tell(() => `job ${job.nth} is promoted`);
        for (const check of this.#checks) check.onPromoted?.(job, stored);
      },
    };
  }

  onReceived(job: JobFacts, model: JobModel): void {
    for (const check of this.#checks) check.onReceived?.(job, model);
  }

  onStarted(work: Work): void {
    this.facts.activeWork.add(work);
    this.facts.tell(
      () => `${work.name} runs on ${work.process.name}${work.lock.isGuarded ? '' : ' without a lock'}`,
    );
    for (const check of this.#checks) {
      check.onWork?.(work);
      if (isRun(work)) check.onStarted?.(work);
    }
  }

  onLook(work: Work): void {
    for (const check of this.#checks) check.onLook?.(work);
  }

  onCalled(call: Call): void {
    this.facts.calls.push(call);
    this.facts.openCalls.add(call);
    for (const check of this.#checks) check.onCalled?.(call);
  }

  /** @param released - what `release()` has said. */
  onHandleReleased(work: Work, released: boolean): void {
    this.facts.tell(() => `${work.name} has released its lock: ${released}`);
    for (const check of this.#checks) check.onHandleReleased?.(work, released);
  }

  onCallEnded(call: Call, outcome: Outcome): void {
    this.facts.openCalls.delete(call);
    call.endedAt = this.facts.now;
    this.facts.tell(
      () =>
        `${call.name} ends with ${'value' in outcome ? JSON.stringify(outcome.value)?.slice(0, 40) : outcome.error}`,
    );
    for (const check of this.#checks) check.onCallEnded?.(call, outcome);
  }

  onProcessed(job: JobFacts, model: JobModel, outcome: Outcome): void {
    this.facts.tell(
      () =>
        `job ${job.nth} leaves the guard with ${'value' in outcome ? JSON.stringify(outcome.value)?.slice(0, 40) : outcome.error}`,
    );
    for (const check of this.#checks) check.onProcessed?.(job, model, outcome);
  }

  /** @param options - those of the version that has emitted it. */
  onEvent(event: LockEvent, options: OptionsPlan): void {
    const { facts } = this;
    const job = 'owner' in event && event.owner !== undefined ? facts.byOwner.get(event.owner) : undefined;
    if (event.type !== 'acquired' && event.type !== 'released' && event.type !== 'renewed') {
      facts.tell(
        () =>
          `  event: job ${job?.nth} ${'observed' in event && event.observed ? 'would be' : 'is'} ${event.type}${'reason' in event ? ` (${event.reason})` : ''}${'error' in event ? `: ${event.error}` : ''}`,
      );
    }
    for (const check of this.#checks) check.onEvent?.(event, job, options);
  }

  atEnd(queues: readonly QueueModel[]): void {
    for (const check of this.#checks) check.atEnd?.(queues);
  }

  #noteEntry(job: JobFacts, step: AcquireStep | EnterStep, result: AcquireResult | EnterResult): void {
    const joined = !result.acquired && 'standing' in result && result.standing?.is === 'in-line';
    if (job.entry || !(joined || result.acquired)) return;
    const { facts } = this;
    const handout = job.handouts.findLast(({ attempt }) => attempt === step.attempt);
    if (!handout) return;
    const { troubles } = facts;
    const isTroubled = Object.values(troubles).some(at => at >= handout.at - AFTERMATH_MS);
    const isLoose = isTroubled || job.wasMismatched || facts.now - handout.at > LATE_MS;
    job.entry = { nth: handout.nth, isLoose, joined, at: facts.now };
  }
}

function isAnswered(result: AcquireResult | EnterResult): boolean {
  return !result.acquired && 'standing' in result && result.standing?.is === 'answered';
}

function describe(facts: Facts, result: (AcquireResult | EnterResult) & { acquired: false }): string {
  const { record } = result;
  const standing = 'standing' in result && result.standing ? ` ${JSON.stringify(result.standing)}` : '';
  return `${record ? `${facts.nameOf(record.owner)} (${record.state})` : 'nobody'}${standing}`;
}

export type { Lease };
