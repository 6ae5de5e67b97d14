/**
 * Breaks things while jobs run, and checks every guarantee.
 *
 *     npm run test:faults                        all faults, once: about six minutes
 *     npm run test:faults -- --minutes 60        again and again, with other random choices each time
 *     npm run test:faults -- --seed 42           the random choices of an earlier run
 *     npm run test:faults -- --only FLUSHALL     the faults that have this in their name
 *     npm run test:faults -- --quick             a short selection
 *     npm run test:faults -- --write             writes the results into docs/faults.md
 */

import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { BAD_INPUT } from './bad-input-trial.ts';
import { CASES, type Case } from './faults.ts';
import { LOADS } from './load.ts';
import { MANY_KEYS } from './many-keys.ts';
import { Random } from './random.ts';
import { type Tried, writeReport } from './report.ts';
import { type Outcome, playRound } from './round.ts';
import { STORES, type Store } from './stores.ts';
import { tableOf } from './table.ts';
import type { Trial } from './trial.ts';

const TRIALS: readonly Trial[] = [...LOADS, MANY_KEYS, BAD_INPUT];
const QUICK = [
  'Redis: no fault',
  'Redis: a worker is killed',
  'Redis: an event loop is blocked',
  'Redis: the server is killed, and starts empty',
  'Redis: answers are lost',
  'Redis: jobs are removed and promoted by hand',
  "Redis with a clock: the server's wall clock jumps ahead, and back",
  'Redis Sentinel: a fail-over',
  "Redis Cluster: the queue's slot moves",
  'PostgreSQL: a worker is stopped, and goes on',
  'PostgreSQL: the server is killed, and recovers',
  'PgBouncer: no fault',
  ...TRIALS.map(({ name }) => name),
];
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const minutes = numberFrom('minutes', values.minutes);
const seed = numberFrom('seed', values.seed);
/** For how long a fault is injected, in ms. */
const roundMs = values.quick ? 2500 : 4000;
const cases = CASES.filter(one => isChosen(nameOf(one)));
const trials = TRIALS.filter(({ name }) => isChosen(name));
if (cases.length + trials.length === 0) {
  const names = [...CASES.map(nameOf), ...TRIALS.map(({ name }) => name)];
  throw new TypeError(`--only: no fault has '${values.only}' in its name; there are:\n${names.join('\n')}`);
}

const startedAt = performance.now();
const outcomes = new Map<string, Outcome[]>();
const tried = new Map<string, Tried>();
let violations = 0;
console.log(`seed ${seed}`);
// The first pass is complete, however long it takes.
for (let pass = 0; pass === 0 || (!values.quick && isTimeLeft()); pass++) {
  await playFaults(pass);
  await playTrials(pass);
}
const table = tableOf(outcomes);
console.log(`\n${table}\n`);
if (values.write) {
  writeReport({ minutes: Math.round((performance.now() - startedAt) / 60_000), seed, table, trials: tried });
}
console.log(`${violations} violations with --seed ${seed}`);
if (violations > 0) process.exitCode = 1;

async function playFaults(pass: number): Promise<void> {
  let store: { name: string; open: Store } | undefined;
  for (const one of cases) {
    if (pass > 0 && !isTimeLeft()) break;
    if (store?.name !== one.store) {
      await store?.open.close();
      store = { name: one.store, open: await STORES[one.store]() };
    }
    const name = nameOf(one);
    const outcome = await playRound(one.fault, store.open, randomFor(name, pass), roundMs);
    outcomes.set(name, [...(outcomes.get(name) ?? []), outcome]);
    report(name, `${outcome.injected} times, ${outcome.jobs} jobs`, outcome.violations);
    if (outcome.folder) console.log(`        the history is in ${outcome.folder}`);
    if (one.fault.maxPerRound === undefined) continue;
    await store.open.close();
    store = undefined;
  }
  await store?.open.close();
}

async function playTrials(pass: number): Promise<void> {
  for (const { name, play } of trials) {
    if (pass > 0 && !isTimeLeft()) break;
    const { figures, violations } = await play(randomFor(name, pass), values.quick ? 10 : 1);
    const { rounds = 0, violations: before = [] } = tried.get(name) ?? {};
    tried.set(name, { rounds: rounds + 1, figures, violations: [...before, ...violations] });
    report(name, figures, violations);
  }
}

function report(name: string, figures: string, found: readonly string[]): void {
  const at = `${Math.round((performance.now() - startedAt) / 1000)} s`.padStart(6);
  console.log(`${at}  ${name}: ${figures}, ${found.length} violations`);
  for (const what of found.slice(0, 10)) console.log(`        ${what}`);
  violations += found.length;
}

/** A round makes the same random choices whatever else is played. */
function randomFor(name: string, pass: number): Random {
  return new Random(createHash('sha256').update(`${seed} ${pass} ${name}`).digest().readUInt32LE());
}

function nameOf({ store, fault }: Case): string {
  return `${store}: ${fault.name}`;
}

function isChosen(name: string): boolean {
  if (values.only !== undefined) return name.includes(values.only);
  return !values.quick || QUICK.includes(name);
}

function isTimeLeft(): boolean {
  return performance.now() - startedAt < minutes * 60_000;
}

function numberFrom(option: string, value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number) || number < 0) {
    throw new TypeError(`--${option} must be a number, 0 or more, not '${value}'`);
  }
  return number;
}
