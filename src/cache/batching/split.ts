/** Cuts a batch into parts that one call of a datastore can carry, and puts the answers together again. */

import type { Answers, Batch, Claim, Lease, Verdict } from '../contract.ts';

/** What one call can carry. */
export interface Limits {
  /** How many steps. */
  readonly most: number;
  /** Keys of one group only, where there are groups. */
  readonly groupOf?: ((key: string) => string) | undefined;
}

/** A call's share of a list, and where in it each of its items stood. */
export interface Part<Item> {
  readonly items: Item[];
  readonly places: number[];
}

/** Cuts a list into parts within the limits. Items of one group keep their order. */
export function cut<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  limits: Limits,
): Part<Item>[] {
  const { most, groupOf } = limits;
  const open = new Map<string, Part<Item>>();
  const parts: Part<Item>[] = [];
  for (const [place, item] of items.entries()) {
    const group = groupOf ? groupOf(keyOf(item)) : '';
    let part = open.get(group);
    if (!part || part.items.length === most) {
      part = { items: [], places: [] };
      parts.push(part);
      open.set(group, part);
    }
    part.items.push(item);
    part.places.push(place);
  }
  return parts;
}

/** Puts the answers to each part where its items stood. */
export function join<Answer>(
  parts: readonly Part<unknown>[],
  answers: readonly (readonly Answer[])[],
): Answer[] {
  const all: Answer[] = [];
  for (const [i, { places }] of parts.entries()) {
    for (const [j, place] of places.entries()) all[place] = answers[i]?.[j] as Answer;
  }
  return all;
}

/** Whether one call can carry a batch as it is. */
export function fits(batch: Batch, { most, groupOf }: Limits): boolean {
  const steps = stepsIn(batch);
  return steps <= 1 || (steps <= most && !groupOf);
}

export function stepsIn({ releases, renewals, claims }: Batch): number {
  return releases.length + renewals.length + claims.length;
}

interface Step {
  readonly verb: keyof Batch;
  readonly step: Claim | Lease;
}

/**
 * Cuts a batch into parts within the limits, and has them answered together.
 * @param sendAll - answers each part, in its order.
 */
export async function exchangeInParts(
  { releases, renewals, claims }: Batch,
  limits: Limits,
  sendAll: (parts: readonly Batch[]) => Promise<readonly Answers[]>,
): Promise<Answers> {
  const steps: Step[] = [];
  for (const step of releases) steps.push({ verb: 'releases', step });
  for (const step of renewals) steps.push({ verb: 'renewals', step });
  for (const step of claims) steps.push({ verb: 'claims', step });
  const parts = cut(steps, ({ step }) => step.key, limits);
  const answers = await sendAll(parts.map(({ items }) => batchOf(items)));
  const all = join(parts, answers.map(flat));
  const renewedFrom = releases.length;
  const claimedFrom = renewedFrom + renewals.length;
  return {
    released: all.slice(0, renewedFrom) as (boolean | Error)[],
    renewed: all.slice(renewedFrom, claimedFrom) as (boolean | Error)[],
    claimed: all.slice(claimedFrom) as (Verdict | Error)[],
  };
}

function batchOf(steps: readonly Step[]): Batch {
  const batch = { releases: [] as Lease[], renewals: [] as Lease[], claims: [] as Claim[] };
  for (const { verb, step } of steps) (batch[verb] as (Claim | Lease)[]).push(step);
  return batch;
}

function flat({ released, renewed, claimed }: Answers): (Verdict | boolean | Error)[] {
  return [...released, ...renewed, ...claimed];
}

/** The answers to a batch of which nothing is known but why. */
export function allFailed({ releases, renewals, claims }: Batch, error: Error): Answers {
  const failed = () => error;
  return { released: releases.map(failed), renewed: renewals.map(failed), claimed: claims.map(failed) };
}
