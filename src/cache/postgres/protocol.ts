/** Writes a batch for the function of `postgres-sql.ts`, and reads its answers. */

import { createHash } from 'node:crypto';
import type { Answers, Arrival, Batch, Holder, Newest, Verdict } from '../contract.ts';
import { stepsIn } from '../batching/split.ts';

/** A longest duration, in ms: a hundred years. The database's clock does not count to that of more. */
const FOR_EVER = 100 * 365 * 86_400_000;

export function writeSteps({ releases, renewals, claims }: Batch): string {
  const steps: unknown[][] = [];
  for (const { key, token, keepFor } of releases) {
    steps.push(['release', storedKey(key), withoutNul(token), wholeMs(keepFor)]);
  }
  for (const { key, token, ttl } of renewals) {
    steps.push(['renew', storedKey(key), withoutNul(token), wholeMs(ttl)]);
  }
  for (const { key, token, ttl, owner, attempt, waits } of claims) {
    steps.push([
      waits ? 'wait' : 'claim',
      storedKey(key),
      withoutNul(token),
      wholeMs(ttl),
      withoutNul(owner),
      attempt,
    ]);
  }
  return JSON.stringify(steps);
}

type Held = readonly [
  state: 'running' | 'done',
  owner: string,
  attempt: number,
  fence: number,
  since: number,
  expiresIn: number,
];
type Answer = boolean | readonly [fence: number, tookOver: boolean] | Held;

/**
 * @returns the answers to the steps, and how many expired locks were swept.
 * @throws Error it is no answer to this batch.
 */
export function readAnswers(text: unknown, batch: Batch): { answers: Answers; swept: number } {
  const all: unknown = typeof text === 'string' ? JSON.parse(text) : text;
  const steps = stepsIn(batch);
  if (!Array.isArray(all) || all.length !== steps + 1) {
    throw new Error(`PostgreSQL answered ${JSON.stringify(text)} where ${steps} answers were due`);
  }
  const answers = all as (Answer | number)[];
  const renewedFrom = batch.releases.length;
  const claimedFrom = renewedFrom + batch.renewals.length;
  return {
    answers: {
      released: batch.releases.map((_, i) => answers[i] === true),
      renewed: batch.renewals.map((_, i) => answers[renewedFrom + i] === true),
      claimed: batch.claims.map(({ key }, i) => verdictOf(key, answers[claimedFrom + i] as Answer)),
    },
    swept: answers[steps] as number,
  };
}

function verdictOf(key: string, answer: Answer): Verdict | Error {
  if (Array.isArray(answer) && answer.length === 2) {
    return { taken: true, fence: answer[0], tookOver: answer[1] };
  }
  if (Array.isArray(answer)) return { taken: false, holder: holderFrom(key, answer as unknown as Held) };
  return new Error(`PostgreSQL gave ${JSON.stringify(answer)} for an answer`);
}

export function writeArrivals(arrivals: readonly Arrival[]): string {
  return JSON.stringify(
    arrivals.map(({ key, order, rerun, waits, owner, keepFor }) => [
      storedKey(key),
      order,
      rerun,
      waits,
      withoutNul(owner),
      wholeMs(keepFor),
    ]),
  );
}

/** @throws Error it is no answer to so many arrivals. */
export function readNewest(text: unknown, count: number): Newest[] {
  const all: unknown = typeof text === 'string' ? JSON.parse(text) : text;
  if (!Array.isArray(all) || all.length !== count) {
    throw new Error(`PostgreSQL answered ${JSON.stringify(text)} where ${count} answers were due`);
  }
  return (all as [string, boolean, string | null][]).map(([owner, waits, outdone]) => ({
    owner: withNul(owner),
    waits,
    outdone: outdone === null ? undefined : withNul(outdone),
  }));
}

/** Reads what `inspectSql` finds: by each stored key its holder. */
export function readHolders(
  rows: readonly { readonly found: string }[],
  keys: readonly string[],
): (Holder | undefined)[] {
  const found = new Map(rows.map(({ found }) => JSON.parse(found) as [string, Held]));
  return keys.map(key => {
    const held = found.get(storedKey(key));
    return held && holderFrom(key, held);
  });
}

/** Reads what `listSql` finds: each stored key, and its holder under the key's own name. */
export function readListed(
  rows: readonly { readonly found: string }[],
): { stored: string; holder: Holder }[] {
  return rows.map(({ found }) => {
    const [stored, held] = JSON.parse(found) as [string, Held];
    return { stored, holder: holderFrom(withNul(stored), held) };
  });
}

/** The beginning of a name as it is stored. */
export function storedPrefix(prefix: string): string {
  return withoutNul(prefix);
}

function holderFrom(key: string, [state, owner, attempt, fence, since, expiresIn]: Held): Holder {
  return { key, state, owner: withNul(owner), fence, attempt, since, expiresIn: Math.max(expiresIn, 0) };
}

/** The most bytes of a key that are stored as they are: an index takes no more than about 2700. */
const LONGEST_KEY = 1024;
/** How much of a longer key can be read in the table, in UTF-16 units. */
const READABLE = 200;

/** The name of a key in the table: what is too long ends in a hash of all of it. */
export function storedKey(key: string): string {
  if (key.length * 3 <= LONGEST_KEY || Buffer.byteLength(key) <= LONGEST_KEY) return withoutNul(key);
  const hash = createHash('sha256').update(key).digest('base64url');
  // No key that is stored as it is contains this mark: an escaped backslash is followed by another, or by a zero.
  return `${withoutNul(key.slice(0, READABLE).toWellFormed())}\\#${hash}`;
}

/** PostgreSQL's texts can't contain the character NUL. */
function withoutNul(text: string): string {
  return /[\\\0]/.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('\0', '\\0') : text;
}

function withNul(text: string): string {
  return text.includes('\\') ? text.replace(/\\([\\0])/g, (_, kept) => (kept === '0' ? '\0' : '\\')) : text;
}

function wholeMs(ms: number): number {
  return Math.min(Math.ceil(ms), FOR_EVER);
}
