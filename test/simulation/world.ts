/** Plays a plan: processes with the library, a server, and what happens to them. */

import { MAX_RESULT_BYTES } from '../../src/lock/kept-result.ts';
import type { LockHandle } from '../../src/lock/lock-handle.ts';
import { Random } from '../faults/random.ts';
import { EPOCH } from './clock.ts';
import { Datastore } from './datastore.ts';
import { Facts, type JobFacts, type Run, type Violation } from './facts.ts';
import type { Library } from './library.ts';
import { Connection } from './network.ts';
import { Observer } from './observer.ts';
import type { JobPlan, OptionsPlan, Plan, RunPlan, Step } from './plan.ts';
import { SimulatedProcess } from './process.ts';
import { QueueModel } from './queue-model.ts';
import { Scheduler } from './scheduler.ts';
import { Server } from './server.ts';
import { type JobModel, type Processor, WorkerModel } from './worker-model.ts';

/** After the last step all jobs must have ended within this time, in ms. */
const MAX_SETTLING_MS = 150_000;

export interface History {
  readonly violations: readonly Violation[];
  readonly trace: readonly string[];
  /** How long it took in virtual time, in ms. */
  readonly duration: number;
  readonly jobs: readonly JobFacts[];
}

/** @param trace - keeps a line for each thing that happens. */
export async function play(
  plan: Plan,
  library: Library,
  { trace = false }: { trace?: boolean } = {},
): Promise<History> {
  const world = new World(plan, library, trace);
  return world.play();
}

/** One process that works, with its connections. */
interface Place {
  process: SimulatedProcess;
  connections: readonly Connection[];
  workers: readonly WorkerModel[];
}

class World {
  readonly #plan: Plan;
  readonly #library: Library;
  readonly #scheduler = new Scheduler();
  readonly #random: Random;
  readonly #facts: Facts;
  readonly #observer: Observer;
  readonly #server: Server;
  readonly #places: Place[] = [];
  /** Those of processes that are being replaced included. */
  readonly #connections: Connection[] = [];
  /** What is to be broken when a command is carried out. */
  #triggers: (Step & { do: 'at the next' })[] = [];
  #started = 0;
  #stepsLeft: number;

  constructor(plan: Plan, library: Library, trace: boolean) {
    this.#plan = plan;
    this.#library = library;
    this.#random = new Random(plan.seed ^ 0x5eed);
    this.#stepsLeft = plan.steps.length;
    this.#facts = new Facts(
      plan.options,
      () => this.#scheduler.now,
      () => host.wall(),
      { trace, haveClocksFarApart: areFarApart(plan), isCacheNamed: plan.cache === 'a pool' },
    );
    this.#facts.after = (ms, run) => this.#scheduler.after(ms, run);
    this.#observer = new Observer(this.#facts);
    const host = new SimulatedProcess(
      'server',
      this.#scheduler,
      this.#random.fork(),
      EXACT,
      this.#onUncaught,
    );
    const { clock } = host;
    const rules = library.rulesFor(host);
    const queues = Array.from(
      { length: plan.queues },
      (_, i) => new QueueModel(`q${i}`, () => clock.wall(), this.#observer.ofQueue(i)),
    );
    this.#server = new Server(this.#scheduler, clock, new Datastore(rules, clock, this.#observer), queues);
    this.#server.onDone = this.#trigger;
    this.#observer.watch(queues);
  }

  async play(): Promise<History> {
    const { steps, machines } = this.#plan;
    for (const i of machines.keys()) this.#start(i);
    for (const step of steps) {
      this.#scheduler.at(step.at, () => {
        this.#stepsLeft--;
        this.#do(step);
      });
    }
    const last = steps.at(-1)?.at ?? 0;
    const settling = areFarApart(this.#plan) ? MAX_SETTLING_MS / 10 : MAX_SETTLING_MS;
    await this.#scheduler.run(last + settling, () => this.#isOver);
    await this.#rejections();
    this.#library.reclaim();
    // A job that was delayed by a clock an hour ahead comes back an hour later.
    if (this.#facts.violations.length === 0 && !areFarApart(this.#plan))
      this.#observer.atEnd(this.#server.queues);
    const { violations, trace, jobs, now } = this.#facts;
    return { violations, trace, duration: now, jobs };
  }

  /** Node reports rejections that nobody handles when nothing else is left to do. */
  async #rejections(): Promise<void> {
    process.on('unhandledRejection', this.#onUncaught);
    await new Promise(resolve => setImmediate(resolve));
    process.off('unhandledRejection', this.#onUncaught);
  }

  get #isOver(): boolean {
    const { violations, jobs, activeRuns } = this.#facts;
    if (violations.length > 0) return true;
    if (this.#stepsLeft > 0 || activeRuns.size > 0) return false;
    if (jobs.some(({ endedAt }) => endedAt === undefined)) return false;
    return this.#facts.allLeases().every(({ state }) => state !== 'held');
  }

  readonly #onUncaught = (error: unknown): void => {
    this.#facts.violate(9, `an error is thrown where nobody catches it: ${(error as Error)?.stack ?? error}`);
  };

  #start(i: number): void {
    const { machines, options, client, latency, cache, worker } = this.#plan;
    const name = `process ${i}.${this.#started++}`;
    const process = new SimulatedProcess(
      name,
      this.#scheduler,
      this.#random.fork(),
      machines[i] as Plan['machines'][number],
      this.#onUncaught,
    );
    const onTrouble = (until: number): void => this.#facts.note('networkUntil', until);
    const connect = (): Connection =>
      new Connection(process, this.#server, this.#random.fork(), { kind: client, latency, onTrouble });
    const { onceProcessor, RedisCache } = this.#library.guardFor(process);
    const pool = cache === 'a pool' ? [connect(), connect(), connect()] : [];
    const processor = onceProcessor(
      this.#processorOf(process) as never,
      {
        ...this.#optionsOf(options),
        ...(pool.length > 0 && { cache: new RedisCache({ pool }) }),
      } as never,
    ) as unknown as Processor;
    const received: Processor = (job, token, signal) => {
      const facts = this.#factsOf(job);
      if (facts) this.#observer.onReceived(facts, job);
      return processor(job, token, signal);
    };
    const queuesOfWorkers = this.#server.queues.flatMap(queue => Array(this.#plan.workers).fill(queue));
    const workers = queuesOfWorkers.map(
      (queue: QueueModel) =>
        new WorkerModel(process, connect(), queue, worker, received, (job, outcome) => {
          const facts = this.#factsOf(job);
          if (facts) this.#observer.onProcessed(facts, job, outcome);
        }),
    );
    const connections = [...pool, ...workers.map(({ connection }) => connection)];
    this.#connections.push(...connections);
    this.#places[i] = { process, connections, workers };
    process.enter(() => {
      for (const one of workers) one.run();
    });
  }

  #optionsOf({ whenLocked, listenerThrows, ...rest }: OptionsPlan): object {
    return {
      ...rest,
      key: '{key}',
      whenLocked: whenLocked === 'callback' ? () => 'handled' : whenLocked,
      onEvent: (event: never) => {
        this.#observer.onEvent(event);
        if (listenerThrows) throw new Error('the listener fails');
      },
    };
  }

  #factsOf(job: Pick<JobModel, 'queueQualifiedName' | 'id' | 'timestamp'>): JobFacts | undefined {
    return this.#facts.byOwner.get(`${job.queueQualifiedName}:${job.id}@${job.timestamp}`);
  }

  #processorOf(process: SimulatedProcess) {
    return async (job: JobModel, token: string, signal: AbortSignal, lock: LockHandle): Promise<unknown> => {
      const facts = this.#factsOf(job) as JobFacts;
      const plan = facts.runPlans[facts.runs.length] ?? LAST_RUN;
      const run: Run = {
        job: facts,
        attempt: job.attemptsStarted,
        model: job,
        process,
        lock,
        signal,
        plan,
        startedAt: this.#scheduler.now,
        abortedAt: signal.aborted ? this.#scheduler.now : undefined,
        hasReleased: false,
        endedAt: undefined,
        outcome: undefined,
      };
      facts.runs.push(run);
      signal.addEventListener('abort', () => {
        run.abortedAt ??= this.#scheduler.now;
      });
      this.#observer.onStarted(run);
      try {
        const value = await this.#work(run, job, token);
        run.outcome = { value };
        return value;
      } catch (error) {
        run.outcome = { error };
        throw error;
      } finally {
        run.endedAt = this.#scheduler.now;
        this.#facts.activeRuns.delete(run);
      }
    };
  }

  async #work(run: Run, job: JobModel, token: string): Promise<unknown> {
    const { plan, process, signal, lock } = run;
    this.#observer.onLook(run);
    for (let part = 0; part < PARTS; part++) {
      await process.sleep(plan.ms / PARTS);
      this.#observer.onLook(run);
      if (plan.obeys && signal.aborted) {
        if (signal.reason?.reason === 'replaced') return { stopped: job.id };
        throw new Error(`asked to fail: ${signal.reason?.message}`);
      }
      if (plan.releasesEarly && part === 0) {
        run.hasReleased = true;
        await lock.release();
      }
    }
    return this.#end(plan, job, token, process);
  }

  async #end(
    { how, returnsMuch }: RunPlan,
    job: JobModel,
    token: string,
    process: SimulatedProcess,
  ): Promise<unknown> {
    if (how === 'complete')
      return { done: job.id, run: job.attemptsStarted, ...(returnsMuch && { much: MUCH }) };
    if (how === 'fail') throw new Error('asked to fail');
    if (how === 'fail for good')
      throw Object.assign(new Error('asked to fail for good'), { name: 'UnrecoverableError' });
    if (how === 'go back') {
      await job.moveToWait(token);
      throw Object.assign(new Error('it goes back'), { name: 'WaitingError' });
    }
    await job.moveToDelayed(process.clock.wall() + DELAYS_ITSELF_MS, token);
    throw Object.assign(new Error('it delays itself'), { name: 'DelayedError' });
  }

  #do(step: Step): void {
    const facts = this.#facts;
    const server = this.#server;
    facts.tell(() => `== ${describeStep(step)}`);
    const later = (ms: number, run: () => void): void => this.#scheduler.after(ms, run);
    const placeOf = (i: number): Place => this.#places[i % this.#places.length] as Place;
    const jobOf = (nth: number): JobFacts | undefined => facts.jobs[nth];
    switch (step.do) {
      case 'add':
        this.#add(step.job);
        return;
      case 'remove': {
        const job = jobOf(step.nth);
        facts.note('operatorAt');
        if (job) server.queues[job.queue]?.remove(job.id);
        return;
      }
      case 'promote':
      case 'retry': {
        const job = jobOf(step.nth);
        facts.note('operatorAt');
        const queue = job && server.queues[job.queue];
        if (!queue) return;
        const state = queue.get(job.id)?.state;
        if (step.do === 'promote' && state === 'delayed') queue.promote(job.id);
        if (step.do === 'retry' && state === 'failed') {
          Object.assign(job, { end: undefined, endedAt: undefined });
          queue.retryFailed(job.id, { resetAttempts: false });
        }
        return;
      }
      case 'drain':
        facts.note('operatorAt');
        server.queues[step.queue]?.drain({ delayed: step.delayed });
        return;
      case 'pause': {
        const queue = server.queues[step.queue];
        queue?.pause();
        later(step.ms, () => queue?.resume());
        return;
      }
      case 'force-release':
        facts.note('operatorAt');
        for (const storedKey of server.locks.storedKeys) {
          if (storedKey.endsWith(`:${step.key}`))
            server.locks.forceRelease({ storedKey }, { byOperator: true });
        }
        return;
      case 'crash':
        facts.note('processUntil', this.#scheduler.now + step.ms);
        this.#kill(step.process % this.#places.length);
        later(step.ms, () => this.#start(step.process % this.#places.length));
        return;
      case 'deploy': {
        const i = step.process % this.#places.length;
        const place = placeOf(i);
        place.process.enter(() => {
          for (const one of place.workers) void one.close();
        });
        this.#start(i);
        return;
      }
      case 'at the next':
        this.#triggers.push(step);
        return;
      case 'freeze': {
        const { process } = placeOf(step.process);
        process.frozenUntil = Math.max(process.frozenUntil, this.#scheduler.now + step.ms);
        facts.note('processUntil', process.frozenUntil);
        return;
      }
      case 'jump':
        placeOf(step.process).process.clock.jump(step.ms);
        facts.note('clockJumpedAt');
        return;
      case 'cut':
        for (const connection of placeOf(step.process).connections) connection.cut(step.ms);
        return;
      case 'stall':
        for (const connection of placeOf(step.process).connections) connection.stall(step.ms);
        return;
      case 'slow':
        for (const connection of placeOf(step.process).connections) connection.slow(step.ms, step.extra);
        return;
      case 'server down':
        this.#takeDown(step.ms);
        return;
      case 'lose locks':
        facts.note('dataLostAt');
        server.locks.restore(new Map());
        this.#observer.onDataLost(new Map());
        return;
      case 'fail over': {
        const replica = server.replicate();
        later(step.lag, () => {
          facts.note('dataLostAt');
          server.failOverTo(replica);
          this.#observer.onDataLost(replica.keys);
          this.#observer.onQueuesRestored(server.queues);
          this.#takeDown(FAIL_OVER_MS);
        });
        return;
      }
      case 'refuse':
        server.refuses = step.what;
        facts.note('serverUntil', this.#scheduler.now + step.ms);
        later(step.ms, () => {
          server.refuses = 'nothing';
        });
        return;
      case 'jump of the server':
        // What has expired does not come back.
        server.locks.purge();
        facts.allLeases();
        server.clock.jump(step.ms);
        facts.note('serverJumpedAt');
        return;
    }
  }

  readonly #trigger = (command: string, process: SimulatedProcess): void => {
    const trigger = this.#triggers.find(one => one.command === command);
    const i = this.#places.findIndex(place => place.process === process);
    if (!trigger || i < 0) return;
    this.#triggers = this.#triggers.filter(one => one !== trigger);
    this.#do({ at: this.#scheduler.now, do: trigger.fault, process: i, ms: trigger.ms });
  };

  #kill(i: number): void {
    const { process, connections } = this.#places[i] as Place;
    process.isAlive = false;
    for (const connection of connections) connection.die();
    for (const run of this.#facts.activeRuns) if (run.process === process) this.#facts.activeRuns.delete(run);
  }

  #takeDown(ms: number): void {
    this.#server.isUp = false;
    for (const connection of this.#connections) if (connection.process.isAlive) connection.cut(ms);
    this.#facts.note('serverUntil', this.#scheduler.now + ms);
    this.#scheduler.after(ms, () => {
      this.#server.isUp = true;
    });
  }

  #add({ queue, key, amount, opts, runs }: JobPlan): void {
    const now = Math.floor(EPOCH + this.#scheduler.now);
    const model = this.#server.queues[queue] as QueueModel;
    // BullMQ adds nothing while it has a job of that id.
    if (opts.jobId !== undefined && model.get(opts.jobId)) return;
    const timestamp = now + (opts.timestamp ?? 0);
    const nth = this.#facts.jobs.length;
    const { scope } = this.#plan.options;
    const { timestamp: _odd, ...rest } = opts;
    // Its facts are known before it can be handed out.
    const facts = {
      nth,
      queue,
      id: '',
      owner: '',
      timestamp,
      storedKey: scope === undefined ? `bull::once:1:q${queue}:${key}` : `once::1:${scope}:${key}`,
      amount,
      isNumbered: opts.jobId === undefined,
      hasOddTime: opts.timestamp !== undefined,
      runPlans: runs,
      handouts: [],
      runs: [],
      refusedIn: new Set<number>(),
      entry: undefined,
      firstGrantAt: undefined,
      endedAt: undefined,
      end: undefined,
      wasSkipped: false,
      successes: 0,
    };
    const id = model.add({ key, amount, nth }, { ...rest, timestamp }, now);
    Object.assign(facts, { id, owner: `bull:q${queue}:${id}@${timestamp}` });
    if (this.#facts.byOwner.has(facts.owner)) return;
    this.#facts.jobs.push(facts);
    this.#facts.byOwner.set(facts.owner, facts);
  }
}

/** Whether the wall clocks of the workers differ by minutes or more, at any time. */
export function areFarApart({ machines, steps }: Plan): boolean {
  const jumps = steps.map(step => (step.do === 'jump' ? step.ms : 0));
  return [...machines.map(({ offset }) => offset), ...jumps].some(ms => Math.abs(ms) > FAR_APART_MS);
}
const FAR_APART_MS = 10_000;

/** More than is kept. */
const MUCH = 'x'.repeat(MAX_RESULT_BYTES);
const EXACT = { rate: 1, offset: 0, lateness: 0 };
/** The work looks at its lock so often. */
const PARTS = 3;
const DELAYS_ITSELF_MS = 100;
const FAIL_OVER_MS = 50;
const LAST_RUN: RunPlan = { ms: 5, how: 'complete' };

/** A step, as a line of a trace. */
export function describeStep({ at: _at, do: what, ...rest }: Step): string {
  if ('job' in rest) {
    const { queue, key, opts, runs } = rest.job;
    return `add a job of ${key} to q${queue} ${JSON.stringify(opts)}: ${runs.map(({ ms, how, ...more }) => `${how} after ${ms} ms${Object.keys(more).length > 0 ? ` ${JSON.stringify(more)}` : ''}`).join(', then ')}`;
  }
  return `${what} ${JSON.stringify(rest)}`;
}
