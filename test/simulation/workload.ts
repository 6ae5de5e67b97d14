/** Makes a plan of a seed: all options, all strategies, all faults; in many histories only a few of them, so that others are not hidden. */

import { Random } from '../faults/random.ts';
import {
  type CallPlan,
  type ChangesPlan,
  type JobPlan,
  type OptionsPlan,
  type Plan,
  type RunPlan,
  type Step,
  type WhenLockedPlan,
  waitsInSlot,
} from './plan.ts';
import type { Machine } from './process.ts';
import { ON_CHILD_FAILURE } from './stored-job.ts';

/** In ms. What is added and broken is so within this time. */
const DURATION = 4000;

/** The commands that a fault may hit. */
const COMMANDS = [
  ...([
    'exchange',
    'exchange',
    'enter',
    'leave',
    'leave',
    'promote',
    'lines',
    'strikeOut',
    'forceRelease',
  ] as const),
  ...([
    'moveToActive',
    'moveToCompleted',
    'moveToCompleted',
    'moveToFailed',
    'moveToDelayed',
    'retryJob',
  ] as const),
];

type Fault = 'moments' | 'processes' | 'clocks' | 'network' | 'server' | 'data' | 'operators' | 'deploys';
const FAULTS: readonly Fault[] = [
  ...(['moments', 'processes', 'clocks', 'network', 'server', 'data', 'operators', 'deploys'] as const),
];

/** What a fault may concern. */
interface Scene {
  readonly processes: number;
  readonly queues: number;
  readonly keys: number;
  readonly changes: ChangesPlan;
  /** No two processes that live at the same time may name one owner. */
  readonly mayNameOwners: boolean;
}

const NO_FORMS: Forms = { hasFlows: false, isLimited: false };

export function planOf(seed: number): Plan {
  const random = new Random(seed);
  const faults = random.chance(0.3) ? [] : FAULTS.filter(() => random.chance(0.3));
  const queues = random.chance(0.15) ? 2 : 1;
  const options = optionsOf(random, queues);
  const processes = random.oneOf([1, 2, 2, 3]);
  const lockDuration = random.oneOf([600, 1000, 2000]);
  const plan = {
    seed,
    options,
    cache: random.chance(0.25) ? ('a pool' as const) : ('of the queue' as const),
    queues,
    workers: random.chance(0.15) ? 2 : 1,
    worker: {
      concurrency: random.oneOf([1, 2, 3, 5]),
      lockDuration,
      stalledInterval: random.oneOf([500, 1000]),
      maxStalledCount: random.oneOf([1, 1, 1, 5]),
      ...(random.chance(0.05) && { maxStartedAttempts: random.between(3, 8) }),
      ...(random.chance(0.08) && {
        limiter: { max: random.between(1, 3), duration: random.oneOf([50, 300, 1000]) },
      }),
    },
    machines: Array.from({ length: processes }, () => machineOf(random, faults.includes('clocks'))),
    client: random.oneOf(['sends again', 'sends again', 'gives up'] as const),
    latency: random.oneOf([0.3, 1, 1, 5]),
  };
  const keys = random.oneOf([1, 1, 1, 2, 3]);
  const hasFlows = random.chance(0.12);
  const mayNameOwners = !faults.includes('deploys');
  const scene: Scene = { processes, queues, keys, changes: changesOf(random, options), mayNameOwners };
  const forms: Forms = {
    hasFlows,
    isLimited: plan.worker.limiter !== undefined,
    later: scene.changes.whenLocked,
  };
  const steps: Step[] = [
    ...jobsOf(random, queues, keys, options, forms),
    ...(options.scope === undefined ? [] : callsOf(random, scene, options)),
    ...faults.flatMap(fault => faultsOf(random, fault, scene)),
  ];
  steps.push(...cancelsOf(seed, options, steps));
  return { ...plan, steps: atMostOneJump(steps.sort((a, b) => a.at - b.at)) };
}

/**
 * Jobs that BullMQ cancels, half of them while they ask for their keys. Of a random of its own: histories without them stay the same.
 */
function cancelsOf(seed: number, { whenLocked }: OptionsPlan, steps: readonly Step[]): Step[] {
  const random = new Random(seed ^ 0xcace1);
  // To cancel a job ends its wait.
  if (!random.chance(waitsInSlot(whenLocked) ? 0.3 : 0.08)) return [];
  const adds = steps.filter(step => step.do === 'add').sort((a, b) => a.at - b.at);
  return Array.from({ length: random.between(1, 3) }, () => {
    const nth = random.between(0, 9);
    const added = random.chance(0.5) ? adds[nth] : undefined;
    const at = added ? added.at + random.between(2, 8) : random.between(1, DURATION / 2);
    return { at, do: 'cancel', nth };
  });
}

/** A server whose clock jumps twice revives what has expired. */
function atMostOneJump(steps: readonly Step[]): Step[] {
  const first = steps.find(step => step.do === 'jump of the server');
  return steps.filter(step => step.do !== 'jump of the server' || step === first);
}

function optionsOf(random: Random, queues: number): OptionsPlan {
  const whenLocked = whenLockedOf(random);
  const takesPlaces = whenLocked !== 'replace' && whenLocked !== 'share';
  const concurrency = takesPlaces && random.chance(0.2) ? random.between(2, 3) : 1;
  return {
    whenLocked,
    ...(waitsInSlot(whenLocked) && random.chance(0.5) && { raiseIfLock: true }),
    ...(concurrency > 1 && { concurrency }),
    ...(random.chance(0.8) && { ttl: random.oneOf([300, 500, 1000, 3000]) }),
    ...(random.chance(0.05) && { maxHold: random.oneOf([200, 1000]) }),
    ...(concurrency === 1 && random.chance(0.2) && { dedupeFor: random.oneOf([100, 800, 3000]) }),
    ...(random.chance(0.3) && { holdThroughRetries: true }),
    ...(random.chance(0.1) && { onCacheError: 'run' as const }),
    ...(random.chance(0.04) && { mode: 'observe' as const }),
    ...((queues > 1 || random.chance(0.1)) && { scope: 'shared' }),
    ...(random.chance(0.1) && { match: '{amount}' as const }),
    ...(random.chance(0.03) && { listenerThrows: true }),
  };
}

/** What the next version of the program does differently. The docs say what may: not from or to a form that keeps only the newest. */
function changesOf(random: Random, { whenLocked, concurrency = 1 }: OptionsPlan): ChangesPlan {
  if (random.chance(0.4)) return {};
  const next = random.chance(0.5) ? whenLockedOf(random) : whenLocked;
  const isSame = isOfNewest(whenLocked) || isOfNewest(next) || (next === 'share' && concurrency > 1);
  const form = isSame ? whenLocked : next;
  const places =
    form !== 'share' && !isOfNewest(form) && random.chance(0.2) ? random.between(1, 3) : concurrency;
  return {
    ...(form !== whenLocked && { whenLocked: form, raiseIfLock: false }),
    ...(places !== concurrency && { concurrency: places }),
    ...(random.chance(0.5) && { ttl: random.oneOf([300, 500, 1000, 3000]) }),
    ...(places === 1 && random.chance(0.2) && { dedupeFor: random.oneOf([0, 100, 800]) }),
    ...(places > 1 && { dedupeFor: 0 }),
  };
}

function isOfNewest(whenLocked: WhenLockedPlan): boolean {
  return whenLocked === 'keep-last' || whenLocked === 'replace';
}

/** Callers of `once` and of a `Lock`, for the keys of a scope. */
function callsOf(
  random: Random,
  { processes, keys, changes, mayNameOwners }: Scene,
  { whenLocked }: OptionsPlan,
): Step[] {
  if (random.chance(0.3)) return [];
  return Array.from({ length: random.between(1, 6) }, () => {
    const process = random.between(0, processes - 1);
    const how = random.oneOf(['tryAcquire', 'acquire', 'run', 'once'] as const);
    const namesOwner = mayNameOwners && how !== 'once' && random.chance(0.3);
    const call: CallPlan = {
      key: `k${random.between(0, keys - 1)}`,
      how,
      // One `Lock` has one set of options.
      ...(namesOwner && { owner: `${how === 'run' ? 'runner' : 'holder'} of place ${process}` }),
      waitFor: random.oneOf([0, 50, 500, 3000]),
      ms: random.oneOf([1, 20, 200, 600]),
      ...(random.chance(0.2) && { fails: true }),
      ...(random.chance(0.5) && { raises: true }),
      // Callers share results where all do.
      ...(whenLocked === 'share' && !changes.whenLocked && random.chance(0.5) && { shares: true }),
    };
    return { at: random.between(0, DURATION / 2), process, do: 'call', call } as const;
  });
}

function whenLockedOf(random: Random): WhenLockedPlan {
  const form = random.oneOf([
    'skip',
    'raise',
    'in-order',
    'in-order',
    'in-order',
    'keep-last',
    'keep-last',
    'replace',
    'share',
    'share',
    'callback',
    'delay',
    'waitFor',
  ] as const);
  if (form === 'delay') {
    const delay = random.chance(0.3) ? ('holder' as const) : random.oneOf([20, 200]);
    return { delay, ...(random.chance(0.3) && { limit: random.between(0, 4) }) };
  }
  return form === 'waitFor' ? { waitFor: random.oneOf([50, 500, 3000]) } : form;
}

function machineOf(random: Random, isOff: boolean): Machine {
  return {
    rate: isOff ? 0.97 + random.next() * 0.06 : 1,
    offset: isOff ? random.oneOf([0, 0, -400, 700, 3_600_000]) : 0,
    lateness: random.next() * 2 - 0.5,
  };
}

/** What jobs may do. */
interface Forms {
  readonly hasFlows: boolean;
  readonly isLimited: boolean;
  /** What a later version of the program has for `whenLocked`, where that differs. */
  readonly later?: WhenLockedPlan | undefined;
}

function jobsOf(random: Random, queues: number, keys: number, options: OptionsPlan, forms: Forms): Step[] {
  const steps: Step[] = [];
  const jobs = random.between(2, 10);
  const span = random.oneOf([50, 500, 2000, DURATION]);
  const hasOwnIds = random.chance(0.2);
  const hasOddTimes = random.chance(0.1);
  const plain = random.chance(0.6);
  const allKeys = Array.from({ length: keys }, (_, i) => `k${i}`);
  let at = 0;
  for (let i = 0; i < jobs; i++) {
    if (random.chance(0.6)) at = random.between(0, span);
    const key = random.oneOf(allKeys);
    const job: JobPlan = {
      queue: random.between(0, queues - 1),
      key,
      amount: random.chance(0.2) ? 2 : 1,
      opts: {
        ...(hasOwnIds && random.chance(0.7) && { jobId: `id-${random.chance(0.1) ? 0 : i}` }),
        ...(random.chance(0.4) && { attempts: random.between(2, 4) }),
        ...(random.chance(0.3) && { backoff: random.oneOf([20, 200, 1500]) }),
        ...(!plain && !hasOddTimes && random.chance(0.15) && { delay: random.between(10, 800) }),
        ...(!plain && random.chance(0.15) && { lifo: true }),
        ...(!plain &&
          random.chance(0.15) &&
          mayHavePriorities(options, forms) && { priority: random.between(1, 3) }),
        ...(hasOddTimes && random.chance(0.3) && { timestamp: random.oneOf([-100_000, 3_600_000]) }),
      },
      runs: Array.from({ length: 3 }, () =>
        runOf(random, options, forms, keysForChildren(key, allKeys, options)),
      ),
      ...(forms.hasFlows && random.chance(0.3) && { children: childrenOf(random, options, allKeys) }),
    };
    steps.push({ at, do: 'add', job });
  }
  return steps;
}

/**
 * BullMQ hands out jobs with a priority after all others: duplicates that come back again and again would starve them, or use up the rate
 * limit.
 */
function mayHavePriorities({ whenLocked }: OptionsPlan, { isLimited, later }: Forms): boolean {
  return !isLimited && ![whenLocked, later].some(form => typeof form === 'object' && 'delay' in form);
}

/** Parents that keep their keys while they wait could wait for each other's children: theirs have keys that nobody waits with. */
function keysForChildren(
  ofParent: string,
  all: readonly string[],
  { holdThroughRetries }: OptionsPlan,
): readonly string[] {
  return holdThroughRetries ? [ofParent, 'leaf'] : all;
}

function childrenOf(random: Random, options: OptionsPlan, keys: readonly string[]): JobPlan[] {
  return Array.from({ length: random.between(1, 3) }, () => ({
    queue: 0,
    key: random.oneOf(keys),
    amount: 1,
    opts: {
      ...(random.chance(0.3) && { attempts: 2 }),
      // A parent that waits for ever would keep what it has reserved.
      onFailure:
        random.oneOf(ON_CHILD_FAILURE) ?? (options.holdThroughRetries ? 'failParentOnFailure' : undefined),
    },
    runs: Array.from({ length: 2 }, () => runOf(random, options, NO_FORMS, [])),
  }));
}

function runOf(
  random: Random,
  options: OptionsPlan,
  { hasFlows, isLimited }: Forms,
  keysOfChildren: readonly string[],
): RunPlan {
  const { whenLocked } = options;
  if (hasFlows && random.chance(0.25)) {
    return { ms: 20, how: 'wait for children', children: childrenOf(random, options, keysOfChildren) };
  }
  return {
    ms: random.oneOf([1, 5, 20, 60, 200, 600]),
    how: random.oneOf([
      'complete',
      'complete',
      'complete',
      'complete',
      'fail',
      'fail',
      'fail for good',
      'delay itself',
      ...(random.chance(0.2) ? (['go back'] as const) : []),
      ...(isLimited ? (['rate limit'] as const) : []),
    ] as const),
    ...(random.chance(whenLocked === 'replace' ? 0.6 : 0.2) && { obeys: true }),
    ...(random.chance(0.04) && { releasesEarly: true }),
    ...(random.chance(0.03) && { returnsMuch: true }),
  };
}

function faultsOf(random: Random, fault: Fault, scene: Scene): Step[] {
  const count = random.between(1, 3);
  return Array.from({ length: count }, () => {
    const at = random.between(1, DURATION);
    const process = random.between(0, scene.processes - 1);
    return { at, ...faultOf(random, fault, process, scene) } as Step;
  });
}

function faultOf(random: Random, fault: Fault, process: number, { queues, keys, changes }: Scene): object {
  const ms = random.oneOf([5, 50, 300, 1500]);
  switch (fault) {
    case 'processes':
      return random.oneOf([
        { do: 'crash', process, ms },
        { do: 'crash', process, ms },
        { do: 'freeze', process, ms: random.oneOf([50, 300, 1200, 3000]) },
      ]);
    case 'deploys':
      return { do: 'deploy', process, changes, slots: random.between(1, 4) };
    case 'moments':
      return {
        do: 'at the next',
        command: random.oneOf(COMMANDS),
        fault: random.oneOf(['cut', 'crash', 'freeze']),
        ms,
      };
    case 'clocks':
      return { do: 'jump', process, ms: random.oneOf([-3_600_000, -700, 900, 3_600_000]) };
    case 'network':
      return random.oneOf([
        { do: 'cut', process, ms },
        { do: 'cut', process, ms: 10 },
        { do: 'stall', process, ms },
        { do: 'slow', process, ms, extra: random.oneOf([20, 100, 500]) },
      ]);
    case 'server':
      return random.oneOf([
        { do: 'server down', ms },
        { do: 'refuse', what: random.oneOf(['acquisitions', 'writes']), ms },
        { do: 'jump of the server', ms: random.oneOf([-2000, -500, 500, 3_600_000]) },
      ]);
    case 'data':
      return random.oneOf([{ do: 'lose locks' }, { do: 'fail over', lag: random.oneOf([1, 10, 200]) }]);
    case 'operators':
      return random.oneOf([
        { do: 'remove', nth: random.between(0, 9) },
        { do: 'remove', nth: random.between(0, 9) },
        { do: 'promote', nth: random.between(0, 9) },
        { do: 'retry', nth: random.between(0, 9) },
        { do: 'drain', queue: random.between(0, queues - 1), delayed: random.chance(0.7) },
        { do: 'pause', queue: random.between(0, queues - 1), ms },
        { do: 'force-release', key: `k${random.between(0, keys - 1)}` },
      ]);
  }
}
