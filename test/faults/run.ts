/**
 * Breaks things while jobs run, and checks that every promise was kept.
 *
 *     npm run test:faults                        all of it, about five minutes
 *     npm run test:faults -- --minutes 60        again and again, with other choices each time
 *     npm run test:faults -- --seed 42           the choices of an earlier run
 *     npm run test:faults -- --only FLUSHALL     what has this in its name
 *     npm run test:faults -- --quick             a short selection
 */

import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { CASES, type Case } from './faults.ts';
import { Random } from './random.ts';
import { type Outcome, playRound } from './round.ts';
import { STORES, type Store } from './stores.ts';
import { printTable } from './table.ts';

const QUICK = [
  'Redis: no fault',
  'Redis: a worker is killed',
  'Redis: an event loop is blocked',
  'Redis: the server is killed, and starts empty',
  'Redis: answers are lost',
  'Redis Sentinel: a fail-over',
  "Redis Cluster: the queue's slot moves",
  'PostgreSQL: a worker is stopped, and goes on',
  'PostgreSQL: the server is killed, and recovers',
];
/** For how long a fault is injected, in ms. */
const ROUND = 4000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
});
const minutes = numberFrom('minutes', values.minutes);
const seed = numberFrom('seed', values.seed);
const chosen = CASES.filter(one => isChosen(nameOf(one)));
if (chosen.length === 0) {
  throw new TypeError(
    `--only: nothing is called '${values.only}'; there are:\n${CASES.map(nameOf).join('\n')}`,
  );
}

const began = performance.now();
const outcomes = new Map<string, Outcome[]>();
console.log(`seed ${seed}`);
for (let pass = 0; pass === 0 || !(values.quick || isTimeUp()); pass++) await playAll(pass);
printTable(outcomes);
const broken = [...outcomes.values()].flat().filter(({ violations }) => violations.length > 0);
if (broken.length > 0) {
  console.log(`Again with: npm run test:faults -- --seed ${seed}`);
  process.exitCode = 1;
}

/** The first pass is whole, however long it takes. */
async function playAll(pass: number): Promise<void> {
  let store: { name: string; open: Store } | undefined;
  for (const one of chosen) {
    if (pass > 0 && isTimeUp()) break;
    if (store?.name !== one.store) {
      await store?.open.close();
      store = { name: one.store, open: await STORES[one.store]() };
    }
    const outcome = await playRound(one.fault, store.open, randomFor(one, pass), ROUND);
    outcomes.set(nameOf(one), [...(outcomes.get(nameOf(one)) ?? []), outcome]);
    report(one, outcome);
    if (one.fault.most === undefined) continue;
    await store.open.close();
    store = undefined;
  }
  await store?.open.close();
}

function report(one: Case, { injected, jobs, violations, folder }: Outcome): void {
  const at = `${Math.round((performance.now() - began) / 1000)} s`.padStart(6);
  console.log(`${at}  ${nameOf(one)}: ${injected} times, ${jobs} jobs, ${violations.length} violations`);
  for (const { promise, what } of violations.slice(0, 10)) console.log(`        ${promise}: ${what}`);
  if (folder) console.log(`        the history is in ${folder}`);
}

/** A round makes the same choices whatever else is played. */
function randomFor(one: Case, pass: number): Random {
  const hash = createHash('sha256')
    .update(`${seed} ${pass} ${nameOf(one)}`)
    .digest();
  return new Random(hash.readUInt32LE());
}

function nameOf({ store, fault }: Case): string {
  return `${store}: ${fault.name}`;
}

function isChosen(name: string): boolean {
  if (values.only !== undefined) return name.includes(values.only);
  return !values.quick || QUICK.includes(name);
}

function isTimeUp(): boolean {
  return performance.now() - began > minutes * 60_000;
}

function numberFrom(option: string, value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number) || number < 0) {
    throw new TypeError(`--${option} must be a number, 0 or more, not '${value}'`);
  }
  return number;
}
