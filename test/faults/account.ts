/** What a history says became of each claim, each run and each job. */

import type { Entry, Found } from './history.ts';

/** A renewal or a release. What was never answered has been answered at `Infinity`. */
export interface Ask {
  readonly askedAt: number;
  /** The ttl of a renewal, the `keepFor` of a release. */
  readonly ms: number;
  answeredAt: number;
  /** The answer; missing where the cache has none. */
  ok: boolean | undefined;
}

/** A claim and what became of it. */
export interface Lease {
  readonly pid: number;
  readonly key: string;
  readonly owner: string;
  readonly attempt: number;
  readonly ttl: number;
  readonly askedAt: number;
  answeredAt: number;
  /** 0 unless it was taken. */
  fence: number;
  /** Who has it, where it was refused. */
  holder: Found | undefined;
  readonly renewals: Ask[];
  readonly releases: Ask[];
}

/** Work under a lock. */
export interface Run {
  readonly owner: string;
  readonly lease: Lease | undefined;
  readonly startedAt: number;
  /** `Infinity` where its process did not live to see it. */
  endedAt: number;
  readonly steps: { readonly at: number; readonly held: boolean; readonly aborted: boolean }[];
  outcome: 'finished' | 'gave up' | 'failed' | undefined;
}

/** What a worker told BullMQ of a job. */
export interface Processed {
  readonly at: number;
  readonly pid: number;
  readonly owner: string;
  readonly outcome: 'finished' | 'skipped' | 'failed';
  readonly code: string | undefined;
  readonly key: string;
  /** When BullMQ handed it out. */
  readonly cameAt: number;
  /** What its process asked for it last, if it did. */
  readonly claim: Lease | undefined;
}

export interface Account {
  readonly leases: readonly Lease[];
  readonly leasesOf: ReadonlyMap<string, readonly Lease[]>;
  readonly runs: readonly Run[];
  readonly processed: readonly Processed[];
  /** When BullMQ told the worker that a job has completed. */
  readonly completedAt: ReadonlyMap<string, number>;
  /** The state of each job in BullMQ when all was over. */
  readonly finals: ReadonlyMap<string, string>;
  readonly killedAt: ReadonlyMap<number, number>;
  /** When the datastore may have lost what it had stored. */
  readonly forgets: readonly Span[];
  /** When the datastore may not have answered. */
  readonly silences: readonly Span[];
  readonly left: readonly string[];
  readonly unhandled: readonly { readonly problem: string; readonly at: number }[];
  readonly endedAt: number;
}

interface Span {
  readonly from: number;
  until: number;
}

export function account(entries: readonly Entry[]): Account {
  const leases = new Map<string, Lease>();
  const came = new Map<string, { readonly at: number; readonly key: string }>();
  const lastClaims = new Map<string, Lease>();
  const taken = new Map<string, Lease>();
  const runs = new Map<string, Run>();
  const processed: Processed[] = [];
  const completedAt = new Map<string, number>();
  const finals = new Map<string, string>();
  const killedAt = new Map<number, number>();
  const forgets: Span[] = [];
  const silences: Span[] = [];
  const left: string[] = [];
  const unhandled: { problem: string; at: number }[] = [];

  for (const entry of entries) {
    const { at, pid } = entry;
    switch (entry.event) {
      case 'came':
        came.set(`${pid} ${entry.owner} ${entry.attempt}`, entry);
        break;
      case 'claim': {
        const { key, owner, attempt, ttl, token } = entry;
        const lease: Lease = { pid, key, owner, attempt, ttl, askedAt: at, ...unanswered() };
        leases.set(token, lease);
        lastClaims.set(`${pid} ${owner} ${attempt}`, lease);
        break;
      }
      case 'claimed': {
        const lease = known(leases, entry.token);
        lease.answeredAt = at;
        lease.fence = entry.fence;
        taken.set(`${pid} ${lease.owner} ${lease.fence}`, lease);
        break;
      }
      case 'refused': {
        const lease = known(leases, entry.token);
        lease.answeredAt = at;
        lease.holder = entry.holder;
        break;
      }
      case 'renew':
        known(leases, entry.token).renewals.push(ask(at, entry.ttl));
        break;
      case 'release':
        known(leases, entry.token).releases.push(ask(at, entry.keepFor));
        break;
      case 'renewed':
        answer(known(leases, entry.token).renewals, at, entry.ok);
        break;
      case 'released':
        answer(known(leases, entry.token).releases, at, entry.ok);
        break;
      case 'run': {
        const { run, owner, fence } = entry;
        const lease = taken.get(`${pid} ${owner} ${fence}`);
        runs.set(`${pid} ${run}`, {
          owner,
          lease,
          startedAt: at,
          endedAt: Number.POSITIVE_INFINITY,
          steps: [],
          outcome: undefined,
        });
        break;
      }
      case 'step':
        known(runs, `${pid} ${entry.run}`).steps.push({ at, held: entry.held, aborted: entry.aborted });
        break;
      case 'ran': {
        const run = known(runs, `${pid} ${entry.run}`);
        run.endedAt = at;
        run.outcome = entry.outcome;
        break;
      }
      case 'processed': {
        const { owner, attempt, outcome, code } = entry;
        // A process may be given a job that it has still under way.
        const job = `${pid} ${owner} ${attempt}`;
        const { at: cameAt, key } = known(came, job);
        processed.push({ at, pid, owner, outcome, code, key, cameAt, claim: lastClaims.get(job) });
        break;
      }
      case 'completed':
        completedAt.set(entry.owner, at);
        break;
      case 'final':
        finals.set(entry.owner, entry.state);
        break;
      case 'killed':
        killedAt.set(entry.of, at);
        break;
      case 'forgot':
        forgets.push({ from: entry.from, until: at });
        break;
      case 'silent':
        silences.push({ from: at, until: Number.POSITIVE_INFINITY });
        break;
      case 'answers': {
        const silence = silences.at(-1);
        if (silence) silence.until = at;
        break;
      }
      case 'left':
        left.push(...entry.keys);
        break;
      case 'unhandled':
        unhandled.push({ problem: entry.problem, at });
        break;
    }
  }

  const all = [...leases.values()];
  return {
    leases: all,
    leasesOf: groupBy(all, ({ key }) => key),
    runs: [...runs.values()],
    processed,
    completedAt,
    finals,
    killedAt,
    forgets,
    silences,
    left,
    unhandled,
    endedAt: entries.at(-1)?.at ?? 0,
  };
}

function unanswered(): Pick<Lease, 'answeredAt' | 'fence' | 'holder' | 'renewals' | 'releases'> {
  return {
    answeredAt: Number.POSITIVE_INFINITY,
    fence: 0,
    holder: undefined,
    renewals: [],
    releases: [],
  };
}

function ask(askedAt: number, ms: number): Ask {
  return { askedAt, ms, answeredAt: Number.POSITIVE_INFINITY, ok: undefined };
}

/** Answers come in the order of asking. */
function answer(asks: readonly Ask[], at: number, ok: boolean | undefined): void {
  const ask = asks.find(({ answeredAt }) => answeredAt === Number.POSITIVE_INFINITY);
  if (!ask) throw new Error('the history has an answer to what was never asked');
  ask.answeredAt = at;
  ask.ok = ok;
}

function known<Item>(items: ReadonlyMap<string, Item>, name: string): Item {
  const item = items.get(name);
  if (!item) throw new Error(`the history speaks of ${name} before it begins`);
  return item;
}

export function groupBy<Item>(items: readonly Item[], keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
