/** Plays a plan: processes with the library, a server, and what happens to them. */

import type { LockCache } from '../../src/cache/contract.ts';
import { Random } from '../faults/random.ts';
import { EPOCH } from './clock.ts';
import { Datastore } from './datastore.ts';
import { Facts, type JobFacts, type Violation } from './facts.ts';
import type { Guard, Library } from './library.ts';
import { Connection } from './network.ts';
import { Observer } from './observer.ts';
import type { JobPlan, OptionsPlan, Plan, Step } from './plan.ts';
import { SimulatedProcess } from './process.ts';
import { QueueModel } from './queue-model.ts';
import { processorOf } from './runs.ts';
import { Scheduler } from './scheduler.ts';
import { Server } from './server.ts';
import { perform } from './steps.ts';
import { type JobModel, type Processor, WorkerModel, type WorkerOptions } from './worker-model.ts';

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

/** A version of the program. */
export interface Version {
  readonly options: OptionsPlan;
  readonly worker: WorkerOptions;
}

/** One process that works, with its connections. */
export interface Place {
  readonly process: SimulatedProcess;
  readonly version: Version;
  readonly connections: readonly Connection[];
  readonly workers: readonly WorkerModel[];
  readonly guard: Guard;
  /** Of those that call `once`, or a `Lock`. */
  readonly cache: LockCache;
}

/** A worker that is given one job a second takes its time. */
function slownessOf({ worker: { limiter } }: Plan): number {
  return limiter && limiter.duration / limiter.max > 300 ? 5 : 1;
}

export class World {
  readonly plan: Plan;
  readonly scheduler: Scheduler = new Scheduler();
  readonly facts: Facts;
  readonly observer: Observer;
  readonly server: Server;
  readonly places: Place[] = [];
  /** What is to be broken when a command is carried out. */
  readonly triggers: Set<Step & { do: 'at the next' }> = new Set<Step & { do: 'at the next' }>();
  readonly #library: Library;
  readonly #random: Random;
  /** Those of processes that are being replaced included. */
  readonly #connections: Connection[] = [];
  #started = 0;
  #stepsLeft: number;

  constructor(plan: Plan, library: Library, trace: boolean) {
    this.plan = plan;
    this.#library = library;
    this.#random = new Random(plan.seed ^ 0x5eed);
    this.#stepsLeft = plan.steps.length;
    this.facts = new Facts(
      versionsOf(plan),
      () => this.scheduler.now,
      () => host.wall(),
      { trace, haveClocksFarApart: areFarApart(plan), isCacheNamed: plan.cache === 'a pool' },
    );
    this.facts.after = (ms, run) => this.scheduler.after(ms, run);
    this.observer = new Observer(this.facts);
    const host = new SimulatedProcess('server', this.scheduler, this.#random.fork(), EXACT, this.#onUncaught);
    const { clock } = host;
    const rules = library.rulesFor(host);
    const queues = Array.from(
      { length: plan.queues },
      (_, i) => new QueueModel(`q${i}`, () => clock.wall(), this.observer.ofQueue(i)),
    );
    this.server = new Server(this.scheduler, clock, new Datastore(rules, clock, this.observer), queues);
    this.server.onDone = this.#trigger;
    this.observer.watch(queues);
  }

  async play(): Promise<History> {
    const { steps, machines, options, worker } = this.plan;
    for (const i of machines.keys()) this.start(i, { options, worker });
    for (const step of steps) {
      this.scheduler.at(step.at, () => {
        this.#stepsLeft--;
        perform(this, step);
      });
    }
    const last = steps.at(-1)?.at ?? 0;
    const settling = areFarApart(this.plan) ? MAX_SETTLING_MS / 10 : MAX_SETTLING_MS * slownessOf(this.plan);
    await this.scheduler.run(last + settling, () => this.#isOver);
    await this.#rejections();
    this.#library.reclaim();
    // A job that was delayed by a clock an hour ahead comes back an hour later.
    if (this.facts.violations.length === 0 && !areFarApart(this.plan))
      this.observer.atEnd(this.server.queues);
    const { violations, trace, jobs, now } = this.facts;
    return { violations, trace, duration: now, jobs };
  }

  /** Node reports rejections that nobody handles when nothing else is left to do. */
  async #rejections(): Promise<void> {
    process.on('unhandledRejection', this.#onUncaught);
    await new Promise(resolve => setImmediate(resolve));
    process.off('unhandledRejection', this.#onUncaught);
  }

  get #isOver(): boolean {
    const { violations, jobs, activeWork, openCalls } = this.facts;
    if (violations.length > 0) return true;
    if (this.#stepsLeft > 0 || activeWork.size > 0 || openCalls.size > 0) return false;
    if (jobs.some(job => job.endedAt === undefined && !this.server.queues[job.queue]?.isStuck(job.id)))
      return false;
    return this.facts.allLeases().every(({ state }) => state !== 'held');
  }

  readonly #onUncaught = (error: unknown): void => {
    this.facts.violate(9, `an error is thrown where nobody catches it: ${(error as Error)?.stack ?? error}`);
  };

  /** Starts the nth process. */
  start(i: number, version: Version): void {
    const { machines, client, latency, cache } = this.plan;
    const process = new SimulatedProcess(
      `process ${i}.${this.#started++}`,
      this.scheduler,
      this.#random.fork(),
      machines[i] as Plan['machines'][number],
      this.#onUncaught,
    );
    const onTrouble = (until: number): void => this.facts.note('networkUntil', until);
    const connections: Connection[] = [];
    const connect = (): Connection => {
      const random = this.#random.fork();
      const connection = new Connection(process, this.server, random, { kind: client, latency, onTrouble });
      connections.push(connection);
      return connection;
    };
    const guard = this.#library.guardFor(process);
    const { onceProcessor, RedisCache } = guard;
    const isNamed = cache === 'a pool';
    const own = new RedisCache(
      isNamed ? { pool: [connect(), connect(), connect()] } : { connection: connect() },
    );
    const processor = onceProcessor(
      processorOf(this, process) as never,
      { ...this.#optionsOf(version.options), ...(isNamed && { cache: own }) } as never,
    ) as unknown as Processor;
    const received: Processor = (job, token, signal) => {
      const facts = this.factsOf(job);
      if (facts) this.observer.onReceived(facts, job);
      return processor(job, token, signal);
    };
    const onProcessed = (job: JobModel, outcome: { value: unknown } | { error: unknown }): void => {
      const facts = this.factsOf(job);
      if (facts) this.observer.onProcessed(facts, job, outcome);
    };
    const queuesOfWorkers: QueueModel[] = this.server.queues.flatMap(queue =>
      Array(this.plan.workers).fill(queue),
    );
    const workers = queuesOfWorkers.map(
      queue => new WorkerModel(process, connect(), queue, version.worker, received, onProcessed),
    );
    this.#connections.push(...connections);
    this.places[i] = { process, version, connections, workers, guard, cache: own };
    process.enter(() => {
      for (const one of workers) one.run();
    });
  }

  #optionsOf(options: OptionsPlan): object {
    const { whenLocked, listenerThrows, ...rest } = options;
    return {
      ...rest,
      key: '{key}',
      whenLocked: whenLocked === 'callback' ? () => 'handled' : whenLocked,
      onEvent: (event: never) => {
        this.observer.onEvent(event, options);
        if (listenerThrows) throw new Error('the listener fails');
      },
    };
  }

  placeOf(i: number): Place {
    return this.places[i % this.places.length] as Place;
  }

  factsOf(job: Pick<JobModel, 'queueQualifiedName' | 'id' | 'timestamp'>): JobFacts | undefined {
    return this.facts.byOwner.get(`${job.queueQualifiedName}:${job.id}@${job.timestamp}`);
  }

  /** What a key is stored as, of the jobs of a queue, or of a scope. */
  storedKeyOf(key: string, queue: number): string {
    const { scope } = this.plan.options;
    return scope === undefined ? `bull::once:1:q${queue}:${key}` : `once::1:${scope}:${key}`;
  }

  readonly #trigger = (command: string, process: SimulatedProcess): void => {
    const i = this.places.findIndex(place => place.process === process);
    if (i < 0) return;
    for (const trigger of this.triggers) {
      if (trigger.command !== command) continue;
      this.triggers.delete(trigger);
      perform(this, { at: this.scheduler.now, do: trigger.fault, process: i, ms: trigger.ms });
      return;
    }
  };

  kill({ process, connections }: Place): void {
    process.isAlive = false;
    for (const connection of connections) connection.die();
    this.#forget(process);
  }

  /** SIGTERM: it takes no more jobs, and ends when those that it has have ended. */
  async end({ process, connections, workers }: Place): Promise<void> {
    await Promise.all(workers.map(worker => worker.close()));
    process.isAlive = false;
    for (const connection of connections) connection.quit();
    this.#forget(process);
  }

  /** What a process did ends with it. */
  #forget(process: SimulatedProcess): void {
    const { activeWork, openCalls } = this.facts;
    for (const work of activeWork) if (work.process === process) activeWork.delete(work);
    for (const call of openCalls) if (call.process === process) openCalls.delete(call);
  }

  takeDown(ms: number): void {
    this.server.isUp = false;
    for (const connection of this.#connections) if (connection.process.isAlive) connection.cut(ms);
    this.facts.note('serverUntil', this.scheduler.now + ms);
    this.scheduler.after(ms, () => {
      this.server.isUp = true;
    });
  }

  /** @throws Error its parent is not there. */
  addJob({ queue, key, amount, opts, runs, children = [] }: JobPlan, parent?: JobFacts): void {
    const now = Math.floor(EPOCH + this.scheduler.now);
    const model = this.server.queues[queue] as QueueModel;
    const nth = this.facts.jobs.length;
    // A `FlowProducer` gives all jobs of a flow ids.
    const jobId =
      opts.jobId ?? (children.length > 0 || opts.parent !== undefined ? `flow-${nth}` : undefined);
    // BullMQ adds nothing while it has a job of that id.
    if (jobId !== undefined && model.get(jobId)) return;
    const timestamp = now + (opts.timestamp ?? 0);
    // Its facts are known before it can be handed out.
    const facts: JobFacts = {
      nth,
      queue,
      id: '',
      owner: '',
      timestamp,
      storedKey: this.storedKeyOf(key, queue),
      amount,
      isNumbered: jobId === undefined,
      parent,
      hasOddTime: opts.timestamp !== undefined,
      runPlans: runs,
      handouts: [],
      runs: [],
      refusedIn: new Set<number>(),
      cancel: undefined,
      wasMismatched: false,
      entry: undefined,
      firstGrantAt: undefined,
      endedAt: undefined,
      end: undefined,
      wasSkipped: false,
      successes: 0,
    };
    const stored = {
      ...opts,
      timestamp,
      ...(jobId !== undefined && { jobId }),
      ...(parent && { parent: parent.id }),
    };
    const id = model.add({ key, amount, nth }, stored, now, { waitsForChildren: children.length > 0 });
    Object.assign(facts, { id, owner: `bull:q${queue}:${id}@${timestamp}` });
    if (this.facts.byOwner.has(facts.owner)) return;
    this.facts.jobs.push(facts);
    this.facts.byOwner.set(facts.owner, facts);
    for (const child of children)
      this.addJob({ ...child, queue, opts: { ...child.opts, parent: id } }, facts);
  }
}

/** The options of all versions of a plan. */
function versionsOf({ options, steps }: Plan): OptionsPlan[] {
  const deploys = steps.flatMap(step =>
    step.do === 'deploy' && Object.keys(step.changes).length > 0 ? [{ ...options, ...step.changes }] : [],
  );
  return [options, ...deploys];
}

/** Whether the wall clocks of the workers differ by minutes or more, at any time. */
export function areFarApart({ machines, steps }: Plan): boolean {
  const jumps = steps.map(step => (step.do === 'jump' ? step.ms : 0));
  return [...machines.map(({ offset }) => offset), ...jumps].some(ms => Math.abs(ms) > FAR_APART_MS);
}
const FAR_APART_MS = 10_000;

const EXACT = { rate: 1, offset: 0, lateness: 0 };
