/** Splits a batch into parts that one call of a datastore can carry, and reassembles the answers. */

import type { AcquireResult, AcquireStep, Batch, BatchResults, ReleaseStep, RenewStep } from '../contract.ts';

/** What one call can carry. */
export interface Limits {
  /** How many steps. */
  readonly maxSteps: number;
  /** Only keys of one group, where there are groups. */
  readonly groupOf?: ((storedKey: string) => string) | undefined;
}

/** A part of a list, and the place of each of its items in that list. */
export interface Part<Item> {
  readonly items: Item[];
  readonly places: number[];
}

/** Splits a list into parts within the limits. Items of one group keep their order. */
export function split<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  { maxSteps, groupOf }: Limits,
): Part<Item>[] {
  const open = new Map<string, Part<Item>>();
  const parts: Part<Item>[] = [];
  for (const [place, item] of items.entries()) {
    const group = groupOf ? groupOf(keyOf(item)) : '';
    let part = open.get(group);
    if (!part || part.items.length === maxSteps) {
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
export function reassemble<Answer>(
  parts: readonly Part<unknown>[],
  answers: readonly (readonly Answer[])[],
): Answer[] {
  const all: Answer[] = [];
  for (const [i, { places }] of parts.entries()) {
    for (const [j, place] of places.entries()) all[place] = answers[i]?.[j] as Answer;
  }
  return all;
}

/** Reads each answer that there is; an error stands in the place of one that there is not. */
export function readEach<Answer, Result>(
  answers: readonly (Answer | Error)[],
  read: (answer: Answer, place: number) => Result,
): (Result | Error)[] {
  return answers.map((answer, place) => (answer instanceof Error ? answer : read(answer, place)));
}

/** Whether one call can carry the whole batch. */
export function fits(batch: Batch, { maxSteps, groupOf }: Limits): boolean {
  const steps = countSteps(batch);
  return steps <= 1 || (steps <= maxSteps && !groupOf);
}

export function countSteps({ releases, renewals, acquisitions }: Batch): number {
  return releases.length + renewals.length + acquisitions.length;
}

export function keysOf({ releases, renewals, acquisitions }: Batch): string[] {
  return [...releases, ...renewals, ...acquisitions].map(({ storedKey }) => storedKey);
}

interface VerbStep {
  readonly verb: keyof Batch;
  readonly step: AcquireStep | RenewStep | ReleaseStep;
}

/**
 * Splits a batch into parts within the limits, and reassembles their results.
 * @param sendAll - answers each part, in its order.
 */
export async function exchangeInParts(
  { releases, renewals, acquisitions }: Batch,
  limits: Limits,
  sendAll: (parts: readonly Batch[]) => Promise<readonly BatchResults[]>,
): Promise<BatchResults> {
  const steps: VerbStep[] = [];
  for (const step of releases) steps.push({ verb: 'releases', step });
  for (const step of renewals) steps.push({ verb: 'renewals', step });
  for (const step of acquisitions) steps.push({ verb: 'acquisitions', step });
  const parts = split(steps, ({ step }) => step.storedKey, limits);
  const results = await sendAll(parts.map(({ items }) => batchOf(items)));
  const answers = reassemble(parts, results.map(listResults));
  const firstRenewal = releases.length;
  const firstAcquisition = firstRenewal + renewals.length;
  return {
    released: answers.slice(0, firstRenewal) as (boolean | Error)[],
    renewed: answers.slice(firstRenewal, firstAcquisition) as (boolean | Error)[],
    acquired: answers.slice(firstAcquisition) as (AcquireResult | Error)[],
  };
}

function batchOf(steps: readonly VerbStep[]): Batch {
  const batch = {
    releases: [] as ReleaseStep[],
    renewals: [] as RenewStep[],
    acquisitions: [] as AcquireStep[],
  };
  for (const { verb, step } of steps) (batch[verb] as VerbStep['step'][]).push(step);
  return batch;
}

function listResults({ released, renewed, acquired }: BatchResults): (AcquireResult | boolean | Error)[] {
  return [...released, ...renewed, ...acquired];
}

/** The results of a batch that failed as a whole. */
export function allFailed({ releases, renewals, acquisitions }: Batch, error: Error): BatchResults {
  const failed = () => error;
  return {
    released: releases.map(failed),
    renewed: renewals.map(failed),
    acquired: acquisitions.map(failed),
  };
}
