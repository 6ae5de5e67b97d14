/** The model of BullMQ in the simulation is held against BullMQ: random operations leave the same state in both. */

import { setTimeout as delay } from 'node:timers/promises';
import { FlowProducer, type Job, Queue, Worker } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { Random } from '../faults/random.ts';
import { connectRedis, uniqueName } from '../support/index.ts';
import { idsOfChildren } from './flow-model.ts';
import { QueueModel } from './queue-model.ts';
import { type ChildState, type JobOptions, ON_CHILD_FAILURE, type StoredJob } from './stored-job.ts';

const STORIES = Number(process.env.QUEUE_MODEL_STORIES ?? 25);
const SEED = Number(process.env.QUEUE_MODEL_SEED ?? Math.floor(Math.random() * 2 ** 32));
const OPERATIONS = 40;
const HOUR = 3_600_000;
const MAX_STALLED = 1;
const LIMITER = { max: 4, duration: HOUR };

const VERBS = [
  ...([
    'add',
    'add',
    'add',
    'fetch',
    'fetch',
    'fetch',
    'complete',
    'fail',
    'fail',
    'delay itself',
    'go back',
  ] as const),
  ...([
    'locks expire',
    'stalled check',
    'stalled check',
    'extend',
    'promote',
    'remove',
    'drain',
    'pause',
    'retry',
    'add a flow',
    'add a child',
    'add a child',
    'wait for children',
    'wait for children',
    'limit',
  ] as const),
];

/** A delay in whole minutes, rounded up: BullMQ counts what is left of it a moment later than the model. */
function minutes(ms: number): number {
  return Math.ceil(ms / 60_000);
}

/** BullMQ and its model, side by side. */
class Pair {
  readonly model: QueueModel;
  readonly #queue: Queue;
  readonly #flows: FlowProducer;
  readonly #worker: Worker;
  readonly #redis: Redis;
  readonly #random: Random;
  /** Those that were fetched, as BullMQ's worker has them, with their tokens. */
  readonly #fetched: { readonly job: Job; readonly token: string }[] = [];
  /** Then none stall: Redis lists a set of such ids in any order. */
  readonly #hasOwnIds: boolean;
  readonly #limiter: typeof LIMITER | undefined;
  #modelAhead = 0;
  #flowsAdded = 0;
  #tokens = 0;
  #isPaused = false;

  constructor(redis: Redis, random: Random) {
    const name = uniqueName();
    this.#redis = redis;
    this.#random = random;
    this.#hasOwnIds = random.chance(0.5);
    this.#limiter = random.chance(0.3) ? LIMITER : undefined;
    this.#queue = new Queue(name, { connection: redis });
    this.#flows = new FlowProducer({ connection: redis });
    const options = { connection: redis.duplicate({ maxRetriesPerRequest: null }), autorun: false };
    this.#worker = new Worker(name, async () => {}, {
      ...options,
      stalledInterval: 1,
      ...(this.#limiter && { limiter: this.#limiter }),
      maxStalledCount: MAX_STALLED,
    });
    this.model = new QueueModel(name, () => Date.now() + this.#modelAhead);
  }

  async close(): Promise<void> {
    await this.#worker.close(true);
    await this.#queue.close();
    await this.#flows.close();
  }

  /** Does something to both. @returns what it was, and what each of them said. */
  async step(): Promise<{ readonly what: string; readonly real: unknown; readonly model: unknown }> {
    const verb = this.#random.oneOf(VERBS);
    const fetched = this.#fetched.length > 0 ? this.#random.oneOf(this.#fetched) : undefined;
    const { job, token = '' } = fetched ?? {};
    const id = this.#anyId();
    switch (verb) {
      case 'add':
        return this.#add();
      case 'add a flow':
        return this.#addFlow();
      case 'limit':
        return this.#both(
          'limit',
          () => this.#queue.rateLimit(HOUR),
          () => this.model.rateLimit(HOUR),
        );
      case 'fetch':
        return this.#fetch();
      case 'locks expire':
        return this.#expireLocks();
      case 'stalled check':
        return this.#checkStalled();
      case 'pause':
        return this.#pauseOrResume();
      case 'promote':
        return this.#both(
          `promote ${id}`,
          async () => this.#of(id).promote(),
          () => this.model.promote(id),
        );
      case 'remove':
        return this.#both(
          `remove ${id}`,
          async () => (await this.#queue.remove(id)) === 1,
          () => this.model.remove(id),
        );
      case 'drain': {
        const delayed = this.#random.chance(0.5);
        return this.#both(
          `drain, delayed: ${delayed}`,
          () => this.#queue.drain(delayed),
          () => this.model.drain({ delayed }),
        );
      }
      case 'retry':
        return this.#both(
          `retry ${id}`,
          async () =>
            (await this.#queue.getJob(id))?.retry('failed', {
              resetAttemptsMade: true,
              resetAttemptsStarted: true,
            }),
          () => this.model.get(id) && this.model.retryFailed(id, { resetAttempts: true }),
        );
      default:
        if (!job) return { what: 'nothing', real: 0, model: 0 };
        return this.#end(verb, job, token);
    }
  }

  /** Ends a run, or goes on with it: also one that is no longer its worker's. */
  async #end(
    verb: 'complete' | 'fail' | 'delay itself' | 'go back' | 'extend' | 'add a child' | 'wait for children',
    job: Job,
    token: string,
  ) {
    const id = job.id as string;
    const what = `${verb} ${id}`;
    const now = Date.now();
    if (verb === 'complete') {
      return this.#both(
        what,
        () => job.moveToCompleted('done', token, false),
        () => this.model.finish(id, token, 'completed', 'done', now),
      );
    }
    if (verb === 'extend') {
      return this.#both(
        what,
        async () => Number(await job.extendLock(token, HOUR)) === 1,
        () => this.model.extendLock(id, token, HOUR),
      );
    }
    if (verb === 'add a child') return this.#addChild(id);
    if (verb === 'wait for children') {
      return this.#both(
        what,
        () => job.moveToWaitingChildren(token),
        () => this.model.moveToWaitingChildren(id, token),
      );
    }
    if (verb === 'go back') {
      return this.#both(
        what,
        async () => void (await job.moveToWait(token)),
        () => this.model.moveToWait(id, token),
      );
    }
    if (verb === 'delay itself') {
      return this.#both(
        what,
        () => job.moveToDelayed(now + HOUR, token),
        () => this.model.moveToDelayed(id, token, now, HOUR),
      );
    }
    const { attemptsMade, opts } = job;
    const runsAgain = attemptsMade + 1 < (opts.attempts ?? 1);
    const backoff = (opts.backoff as { delay?: number } | undefined)?.delay ?? 0;
    return this.#both(
      what,
      () => job.moveToFailed(new Error('no'), token, false),
      () => {
        if (!runsAgain) this.model.finish(id, token, 'failed', 'no', now, ['no']);
        else if (backoff > 0)
          this.model.moveToDelayed(id, token, now, backoff, { reason: 'no', stacktrace: ['no'] });
        else this.model.retry(id, token, now, 'no', ['no']);
      },
    );
  }

  async #add() {
    const random = this.#random;
    const opts: JobOptions = {
      timestamp: Date.now(),
      ...(this.#hasOwnIds && random.chance(0.3) && { jobId: `own-${random.between(1, 3)}` }),
      ...(random.chance(0.2) && { lifo: true }),
      ...(random.chance(0.2) && { priority: random.between(1, 2) }),
      ...(random.chance(0.2) && { delay: random.oneOf([1, HOUR]) }),
      ...(random.chance(0.4) && { attempts: 3 }),
      ...(random.chance(0.2) && { backoff: HOUR }),
    };
    return this.#both(
      `add ${JSON.stringify(opts)}`,
      async () => (await this.#queue.add('job', {}, opts as object)).id,
      () => this.model.add({}, opts, Date.now()),
    );
  }

  #anyId(): string {
    const random = this.#random;
    if (this.#flowsAdded === 0 || random.chance(0.5)) return String(random.between(1, 12));
    const flow = `flow-${random.between(0, this.#flowsAdded - 1)}`;
    return random.chance(0.5) ? flow : `${flow}-${random.between(0, 2)}`;
  }

  async #addChild(parent: string) {
    const onFailure = this.#random.oneOf(ON_CHILD_FAILURE);
    const timestamp = Date.now();
    const opts = { timestamp, parent: { id: parent, queue: this.#queue.qualifiedName } };
    return this.#both(
      `add a child of ${parent} ${onFailure}`,
      async () => (await this.#queue.add('job', {}, { ...opts, ...(onFailure && { [onFailure]: true }) })).id,
      () => this.model.add({}, { timestamp, parent, onFailure }, timestamp),
    );
  }

  /** Its jobs have ids of their own: a `FlowProducer` makes them up. */
  async #addFlow() {
    if (!this.#hasOwnIds) return { what: 'nothing', real: 0, model: 0 };
    const random = this.#random;
    const timestamp = Date.now();
    const children = Array.from({ length: random.between(1, 3) }, () => random.oneOf(ON_CHILD_FAILURE));
    const priority = random.chance(0.2) ? 1 : 0;
    const node = { name: 'job', queueName: this.#queue.name };
    const jobId = `flow-${this.#flowsAdded++}`;
    const idOf = (i: number): string => `${jobId}-${i}`;
    return this.#both(
      `add a flow of ${children.join(', ')}, priority ${priority}`,
      async () => {
        const { job } = await this.#flows.add({
          ...node,
          opts: { jobId, timestamp, priority },
          children: children.map((onFailure, i) => ({
            ...node,
            opts: { jobId: idOf(i), timestamp, ...(onFailure && { [onFailure]: true }) },
          })),
        });
        return job.id;
      },
      () => {
        const opts = { jobId, timestamp, priority };
        const parent = this.model.add({}, opts, timestamp, { waitsForChildren: true });
        for (const [i, onFailure] of children.entries())
          this.model.add({}, { jobId: idOf(i), timestamp, parent, onFailure }, timestamp);
        return parent;
      },
    );
  }

  async #fetch() {
    // What is due in a ms is due for both.
    await delay(3);
    const token = `t${this.#tokens++}`;
    // The worker itself would not ask for a while.
    Object.assign(this.#worker, { limitUntil: 0 });
    return this.#both(
      'fetch',
      async () => {
        const job = (await this.#worker.getNextJob(token, { block: false })) as Job | undefined;
        if (job) this.#fetched.push({ job, token });
        return job?.id;
      },
      () => this.model.moveToActive(token, Date.now(), HOUR, this.#limiter).job?.id,
    );
  }

  async #expireLocks() {
    if (this.#hasOwnIds) return { what: 'nothing', real: 0, model: 0 };
    const locks = await this.#redis.keys(`bull:${this.#queue.name}:*:lock`);
    await this.#redis.del(`bull:${this.#queue.name}:limiter`, ...locks);
    this.#modelAhead += 2 * HOUR;
    return { what: 'all locks, and the limit, expire', real: 0, model: 0 };
  }

  async #checkStalled() {
    await delay(3);
    const { backend } = this.#worker as unknown as {
      backend: { moveStalledJobsToWait(): Promise<unknown> };
    };
    return this.#both(
      'stalled check',
      async () => void (await backend.moveStalledJobsToWait()),
      () => this.model.moveStalledToWait(MAX_STALLED, 1),
    );
  }

  async #pauseOrResume() {
    this.#isPaused = !this.#isPaused;
    return this.#both(
      this.#isPaused ? 'pause' : 'resume',
      () => (this.#isPaused ? this.#queue.pause() : this.#queue.resume()),
      () => (this.#isPaused ? this.model.pause() : this.model.resume()),
    );
  }

  #of(id: string): Job {
    const { Job: JobClass } = this.#queue as unknown as {
      Job: new (queue: unknown, name: string, data: object, opts: object, id: string) => Job;
    };
    return new JobClass(this.#queue, 'job', {}, {}, id);
  }

  async #both(what: string, real: () => Promise<unknown>, model: () => unknown) {
    return { what, real: await answerOf(real), model: await answerOf(async () => model()) };
  }

  /** What BullMQ stores. */
  async real(): Promise<object> {
    const key = (name: string): string => `bull:${this.#queue.name}:${name}`;
    const redis = this.#redis;
    const [waiting, active, delayed, prioritized] = await Promise.all([
      redis.lrange(key('wait'), '0', '-1'),
      redis.lrange(key('active'), '0', '-1'),
      redis.zrange(key('delayed'), '0', '-1'),
      redis.zrange(key('prioritized'), '0', '-1'),
    ]);
    const finished = [
      ...(await redis.zrange(key('completed'), '0', '-1')),
      ...(await redis.zrange(key('failed'), '0', '-1')),
    ];
    const parents = (await redis.zrange(key('waiting-children'), '0', '-1')).sort();
    const ids = [...waiting, ...active, ...delayed, ...prioritized, ...parents, ...finished].sort();
    const jobs = await Promise.all(
      ids.map(async id => {
        const {
          atm,
          ats,
          stc,
          delay = '0',
          defa,
          failedReason,
          finishedOn,
          returnvalue,
        } = await redis.hgetall(key(id));
        return {
          id,
          atm: Number(atm ?? 0),
          ats: Number(ats ?? 0),
          stc: Number(stc ?? 0),
          delay: minutes(Number(delay)),
          isDoomed: defa !== undefined,
          failedReason: failedReason ?? '',
          isFinished: finishedOn !== undefined,
          value: returnvalue ? JSON.parse(returnvalue) : '',
          isLocked: (await redis.exists(key(`${id}:lock`))) === 1,
          children: {
            pending: await this.#idsIn(redis.smembers(key(`${id}:dependencies`))),
            processed: await this.#idsIn(redis.hkeys(key(`${id}:processed`))),
            failed: await this.#idsIn(redis.hkeys(key(`${id}:failed`))),
            unsuccessful: await this.#idsIn(redis.zrange(key(`${id}:unsuccessful`), '0', '-1')),
          },
        };
      }),
    );
    return { waiting: waiting.toReversed(), active, delayed, prioritized, parents, jobs };
  }

  async #idsIn(keys: Promise<string[]>): Promise<string[]> {
    return (await keys).map(key => key.slice(key.lastIndexOf(':') + 1)).sort();
  }

  /** The same of the model. */
  modelled(): object {
    const { model } = this;
    const now = Date.now() + this.#modelAhead;
    const jobs = [...model.jobs].map(job => ({
      id: job.id,
      atm: job.attemptsMade,
      ats: job.attemptsStarted,
      stc: job.stalledCounter,
      delay: minutes(job.delay),
      isDoomed: job.deferredFailure !== undefined,
      failedReason: job.failedReason ?? '',
      isFinished: job.finishedOn !== undefined,
      value: job.returnvalue ?? '',
      isLocked: job.lock !== undefined && job.lock.expiresAt > now,
      children: {
        pending: inState(job, 'pending'),
        processed: inState(job, 'processed'),
        failed: inState(job, 'failed'),
        unsuccessful: inState(job, 'unsuccessful'),
      },
    }));
    const parents = [...model.jobs].filter(({ state }) => state === 'waiting-children');
    return {
      waiting: model.idsOf('waiting'),
      active: model.activeIds(),
      delayed: model.idsOf('delayed'),
      prioritized: model.idsOf('prioritized'),
      parents: parents.map(({ id }) => id).sort(),
      jobs: jobs.sort((a, b) => (a.id < b.id ? -1 : 1)),
    };
  }
}

function inState(job: StoredJob, state: ChildState): string[] {
  return idsOfChildren(job, state).sort();
}

/** An answer, or that there was an error: what it says is BullMQ's affair. */
async function answerOf(ask: () => Promise<unknown>): Promise<unknown> {
  try {
    const answer = await ask();
    return typeof answer === 'string' || typeof answer === 'boolean' ? answer : undefined;
  } catch {
    return 'an error';
  }
}

describe('The model of BullMQ', () => {
  let redis: Redis;
  before(() => {
    redis = connectRedis();
  });
  after(() => redis.disconnect());

  it('is in the same state as BullMQ after any operations', async function () {
    this.timeout(60_000 + STORIES * 10_000);
    const random = new Random(SEED);
    for (let i = 0; i < STORIES; i++) {
      const pair = new Pair(redis, random);
      const story: string[] = [];
      for (let j = 0; j < OPERATIONS; j++) {
        const { what, real, model } = await pair.step();
        story.push(what);
        const how = `seed ${SEED}, story ${i}:\n${story.join('\n')}`;
        expect(model, how).to.deep.equal(real);
        expect(pair.modelled(), how).to.deep.equal(await pair.real());
      }
      await pair.close();
    }
  });
});
