/** Makes a plan of a seed: all options, all strategies, all faults; in many histories only a few of them, so that others are not hidden. */

import { Random } from '../faults/random.ts';
import type { JobPlan, OptionsPlan, Plan, RunPlan, Step, WhenLockedPlan } from './plan.ts';
import type { Machine } from './process.ts';

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

type Fault = 'moments' | 'processes' | 'clocks' | 'network' | 'server' | 'data' | 'operators';
const FAULTS: readonly Fault[] = ['moments', 'processes', 'clocks', 'network', 'server', 'data', 'operators'];

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
    },
    machines: Array.from({ length: processes }, () => machineOf(random, faults.includes('clocks'))),
    client: random.oneOf(['sends again', 'sends again', 'gives up'] as const),
    latency: random.oneOf([0.3, 1, 1, 5]),
  };
  const keys = random.oneOf([1, 1, 1, 2, 3]);
  const steps: Step[] = [
    ...jobsOf(random, queues, keys, options),
    ...faults.flatMap(fault => faultsOf(random, fault, processes, queues, keys)),
  ];
  return { ...plan, steps: atMostOneJump(steps.sort((a, b) => a.at - b.at)) };
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
    ...(typeof whenLocked === 'object' &&
      'waitFor' in whenLocked &&
      random.chance(0.5) && { raiseIfLock: true }),
    ...(concurrency > 1 && { concurrency }),
    ...(random.chance(0.8) && { ttl: random.oneOf([300, 500, 1000, 3000]) }),
    ...(random.chance(0.05) && { maxHold: random.oneOf([200, 1000]) }),
    ...(concurrency === 1 && random.chance(0.2) && { dedupeFor: random.oneOf([100, 800, 3000]) }),
    ...(random.chance(0.3) && { holdThroughRetries: true }),
    ...(random.chance(0.1) && { onCacheError: 'run' as const }),
    ...(random.chance(0.04) && { mode: 'observe' as const }),
    ...((queues > 1 || random.chance(0.05)) && { scope: 'shared' }),
    ...(random.chance(0.1) && { match: '{amount}' as const }),
    ...(random.chance(0.03) && { listenerThrows: true }),
  };
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

function jobsOf(random: Random, queues: number, keys: number, options: OptionsPlan): Step[] {
  const steps: Step[] = [];
  const jobs = random.between(2, 10);
  const span = random.oneOf([50, 500, 2000, DURATION]);
  const hasOwnIds = random.chance(0.2);
  const hasOddTimes = random.chance(0.1);
  const plain = random.chance(0.6);
  let at = 0;
  for (let i = 0; i < jobs; i++) {
    if (random.chance(0.6)) at = random.between(0, span);
    const job: JobPlan = {
      queue: random.between(0, queues - 1),
      key: `k${random.between(0, keys - 1)}`,
      amount: random.chance(0.2) ? 2 : 1,
      opts: {
        ...(hasOwnIds && random.chance(0.7) && { jobId: `id-${random.chance(0.1) ? 0 : i}` }),
        ...(random.chance(0.4) && { attempts: random.between(2, 4) }),
        ...(random.chance(0.3) && { backoff: random.oneOf([20, 200, 1500]) }),
        ...(!plain && !hasOddTimes && random.chance(0.15) && { delay: random.between(10, 800) }),
        ...(!plain && random.chance(0.15) && { lifo: true }),
        ...(!plain &&
          random.chance(0.15) &&
          mayHavePriorities(options) && { priority: random.between(1, 3) }),
        ...(hasOddTimes && random.chance(0.3) && { timestamp: random.oneOf([-100_000, 3_600_000]) }),
      },
      runs: Array.from({ length: 3 }, () => runOf(random, options)),
    };
    steps.push({ at, do: 'add', job });
  }
  return steps;
}

/** BullMQ hands out jobs with a priority after all others: duplicates that come back again and again would starve them. */
function mayHavePriorities({ whenLocked }: OptionsPlan): boolean {
  return typeof whenLocked !== 'object' || !('delay' in whenLocked);
}

function runOf(random: Random, { whenLocked }: OptionsPlan): RunPlan {
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
    ] as const),
    ...(random.chance(whenLocked === 'replace' ? 0.6 : 0.2) && { obeys: true }),
    ...(random.chance(0.04) && { releasesEarly: true }),
    ...(random.chance(0.03) && { returnsMuch: true }),
  };
}

function faultsOf(random: Random, fault: Fault, processes: number, queues: number, keys: number): Step[] {
  const count = random.between(1, 3);
  return Array.from({ length: count }, () => {
    const at = random.between(1, DURATION);
    const process = random.between(0, processes - 1);
    return { at, ...faultOf(random, fault, process, queues, keys) } as Step;
  });
}

function faultOf(random: Random, fault: Fault, process: number, queues: number, keys: number): object {
  const ms = random.oneOf([5, 50, 300, 1500]);
  switch (fault) {
    case 'processes':
      return random.oneOf([
        { do: 'crash', process, ms },
        { do: 'crash', process, ms },
        { do: 'freeze', process, ms: random.oneOf([50, 300, 1200, 3000]) },
        { do: 'deploy', process, ms },
      ]);
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
