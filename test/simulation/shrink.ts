/** Looks for a smaller plan that violates the same guarantee: without a step, a process, an option or an odd clock. */

import type { Library } from './library.ts';
import type { Plan } from './plan.ts';
import { play } from './world.ts';

/** So many smaller plans are tried at most. */
const MAX_TRIES = 400;

export async function shrink(plan: Plan, library: Library): Promise<Plan> {
  const guarantee = (await play(plan, library)).violations[0]?.guarantee;
  let tries = 0;
  const stillFails = async (smaller: Plan): Promise<boolean> => {
    tries++;
    const { violations } = await play(smaller, library);
    return violations[0]?.guarantee === guarantee;
  };
  let smallest = plan;
  for (let hasShrunk = true; hasShrunk; ) {
    hasShrunk = false;
    for (const smaller of smallerThan(smallest)) {
      if (tries >= MAX_TRIES) return smallest;
      if (!(await stillFails(smaller))) continue;
      smallest = smaller;
      hasShrunk = true;
      break;
    }
  }
  return smallest;
}

function* smallerThan(plan: Plan): Generator<Plan> {
  const { steps, machines, options } = plan;
  // Many at once first.
  for (let size = steps.length >> 1; size >= 1; size >>= 1) {
    for (let i = steps.length - size; i >= 0; i -= size) {
      yield { ...plan, steps: steps.toSpliced(i, size) };
    }
  }
  if (machines.length > 1) yield { ...plan, machines: machines.slice(0, -1) };
  for (const name of Object.keys(options)) {
    if (name === 'whenLocked') continue;
    const { [name as 'ttl']: _left, ...rest } = options;
    yield { ...plan, options: rest };
  }
  if (machines.some(({ rate, offset }) => rate !== 1 || offset !== 0)) {
    yield { ...plan, machines: machines.map(machine => ({ ...machine, rate: 1, offset: 0 })) };
  }
  for (const [i, step] of steps.entries()) {
    if (step.do !== 'add') continue;
    const { opts, runs, children } = step.job;
    if (children)
      yield { ...plan, steps: steps.with(i, { ...step, job: { ...step.job, children: children.slice(1) } }) };
    const simpler = runs.length > 1 && { ...step.job, runs: runs.slice(0, -1) };
    if (simpler) yield { ...plan, steps: steps.with(i, { ...step, job: simpler }) };
    for (const name of Object.keys(opts)) {
      const { [name as 'delay']: _left, ...rest } = opts;
      yield { ...plan, steps: steps.with(i, { ...step, job: { ...step.job, opts: rest } }) };
    }
  }
}
