/** Derives from a history what became of each acquisition, each run and each job. */

import type { LineKind, Standing } from '../../src/cache/contract.ts';
import type { Entry, FoundHolder, JobOutcome, RunOutcome } from './history.ts';

/** A renewal or a release. One that was never answered has been answered at `Infinity`. */
export interface LeaseRequest {
  readonly sentAt: number;
  /** The ttl of a renewal, the `dedupeFor` of a release. */
  readonly ms: number;
  /** For how long a release reserves the key. */
  readonly reservedFor?: number | undefined;
  answeredAt: number;
  /** The answer; missing where the cache has none. */
  ok: boolean | undefined;
}

/** The acquisition of a key, and what became of it. */
export interface Acquisition {
  readonly pid: number;
  readonly storedKey: string;
  readonly owner: string;
  readonly attempt: number;
  readonly ttl: number;
  /** How many may hold the key at once. */
  readonly places: number;
  readonly line: LineKind | undefined;
  readonly sentAt: number;
  answeredAt: number;
  /** 0 unless it was granted. */
  fence: number;
  /** Who holds the key, where it was refused. */
  holder: FoundHolder | undefined;
  /** How it stands in the line, where it was refused. */
  standing: Standing['is'] | 'not-in-line' | undefined;
  readonly renewals: LeaseRequest[];
  readonly releases: LeaseRequest[];
}

/** Work under a lock. */
export interface Run {
  readonly owner: string;
  /** The acquisition that it runs under; missing where there is none. */
  readonly lease: Acquisition | undefined;
  readonly startedAt: number;
  /** `Infinity` where its process was killed before. */
  endedAt: number;
  readonly steps: { readonly at: number; readonly held: boolean; readonly aborted: boolean }[];
  outcome: RunOutcome | undefined;
  /** What the work returned. */
  result: string | undefined;
}

/** What a processor returned to BullMQ for a job. */
export interface ProcessedJob {
  readonly at: number;
  readonly pid: number;
  readonly owner: string;
  readonly outcome: JobOutcome;
  readonly code: string | undefined;
  readonly result: string | undefined;
  readonly storedKey: string;
  /** When BullMQ handed it out. */
  readonly receivedAt: number;
  /** The last acquisition that its process sent for it. */
  readonly acquisition: Acquisition | undefined;
}

/** What BullMQ says of a job when all is over. */
export interface FinalState {
  readonly state: string;
  readonly result: string | undefined;
}

interface Period {
  readonly from: number;
  until: number;
}

export interface Account {
  readonly acquisitions: readonly Acquisition[];
  readonly acquisitionsOf: ReadonlyMap<string, readonly Acquisition[]>;
  readonly runs: readonly Run[];
  readonly processed: readonly ProcessedJob[];
  /** When BullMQ reported to the worker that a job has completed. */
  readonly completedAt: ReadonlyMap<string, number>;
  /** The state of each job in BullMQ when all was over. */
  readonly finalStates: ReadonlyMap<string, FinalState>;
  readonly killedAt: ReadonlyMap<number, number>;
  /** The jobs that were removed by hand. */
  readonly removed: ReadonlySet<string>;
  /** The owners that were struck out of a line: `<storedKey> <owner>`. */
  readonly struck: ReadonlySet<string>;
  /** When the datastore's wall clock was set back. */
  readonly clockSetBackAt: readonly number[];
  /** When the datastore may have lost what it had stored. */
  readonly dataLosses: readonly Period[];
  /** When the datastore may not have answered. */
  readonly outages: readonly Period[];
  readonly leftBehind: readonly string[];
  readonly unhandled: readonly { readonly problem: string; readonly at: number }[];
  readonly endedAt: number;
}

export function accountOf(entries: readonly Entry[]): Account {
  const acquisitions = new Map<string, Acquisition>();
  const received = new Map<string, { readonly at: number; readonly storedKey: string }>();
  const lastAcquisitions = new Map<string, Acquisition>();
  const granted = new Map<string, Acquisition>();
  const runs = new Map<string, Run>();
  const processed: ProcessedJob[] = [];
  const completedAt = new Map<string, number>();
  const finalStates = new Map<string, FinalState>();
  const killedAt = new Map<number, number>();
  const removed = new Set<string>();
  const struck = new Set<string>();
  const clockSetBackAt: number[] = [];
  const dataLosses: Period[] = [];
  const outages: Period[] = [];
  const leftBehind: string[] = [];
  const unhandled: { problem: string; at: number }[] = [];

  for (const entry of entries) {
    const { at, pid } = entry;
    switch (entry.event) {
      case 'received':
        received.set(`${pid} ${entry.owner} ${entry.attempt}`, entry);
        break;
      case 'acquire': {
        const { storedKey, owner, attempt, ttl, token, places = 1, line } = entry;
        const acquisition: Acquisition = {
          ...{ pid, storedKey, owner, attempt, ttl, places, line },
          sentAt: at,
          answeredAt: Number.POSITIVE_INFINITY,
          fence: 0,
          holder: undefined,
          standing: undefined,
          renewals: [],
          releases: [],
        };
        acquisitions.set(token, acquisition);
        lastAcquisitions.set(`${pid} ${owner} ${attempt}`, acquisition);
        break;
      }
      case 'acquired': {
        const acquisition = known(acquisitions, entry.token);
        acquisition.answeredAt = at;
        acquisition.fence = entry.fence;
        granted.set(`${pid} ${acquisition.owner} ${acquisition.fence}`, acquisition);
        break;
      }
      case 'refused': {
        const acquisition = known(acquisitions, entry.token);
        acquisition.answeredAt = at;
        acquisition.holder = entry.holder;
        acquisition.standing = entry.standing;
        break;
      }
      case 'renew':
        known(acquisitions, entry.token).renewals.push(sent({ sentAt: at, ms: entry.ttl }));
        break;
      case 'release':
        known(acquisitions, entry.token).releases.push(
          sent({ sentAt: at, ms: entry.dedupeFor, reservedFor: entry.reservedFor }),
        );
        break;
      case 'strike':
        struck.add(`${entry.storedKey} ${entry.owner}`);
        break;
      case 'renewed':
        answer(known(acquisitions, entry.token).renewals, at, entry.ok);
        break;
      case 'released':
        answer(known(acquisitions, entry.token).releases, at, entry.ok);
        break;
      case 'started': {
        const { run, owner, fence } = entry;
        runs.set(`${pid} ${run}`, {
          owner,
          lease: granted.get(`${pid} ${owner} ${fence}`),
          startedAt: at,
          endedAt: Number.POSITIVE_INFINITY,
          steps: [],
          outcome: undefined,
          result: undefined,
        });
        break;
      }
      case 'step':
        known(runs, `${pid} ${entry.run}`).steps.push({ at, held: entry.held, aborted: entry.aborted });
        break;
      case 'ended': {
        const run = known(runs, `${pid} ${entry.run}`);
        run.endedAt = at;
        run.outcome = entry.outcome;
        run.result = entry.result;
        break;
      }
      case 'processed': {
        const { owner, attempt, outcome, code, result } = entry;
        // A process may be given a job that it is still running.
        const job = `${pid} ${owner} ${attempt}`;
        const { at: receivedAt, storedKey } = known(received, job);
        const acquisition = lastAcquisitions.get(job);
        processed.push({ at, pid, owner, outcome, code, result, storedKey, receivedAt, acquisition });
        break;
      }
      case 'completed':
        completedAt.set(entry.owner, at);
        break;
      case 'final-state':
        finalStates.set(entry.owner, { state: entry.state, result: entry.result });
        break;
      case 'removed':
        removed.add(entry.owner);
        break;
      case 'clock-set-back':
        clockSetBackAt.push(at);
        break;
      case 'killed':
        killedAt.set(entry.of, at);
        break;
      case 'data-lost':
        dataLosses.push({ from: entry.from, until: at });
        break;
      case 'outage-begins':
        outages.push({ from: at, until: Number.POSITIVE_INFINITY });
        break;
      case 'outage-ends': {
        const outage = outages.at(-1);
        if (outage) outage.until = at;
        break;
      }
      case 'left-behind':
        leftBehind.push(...entry.storedKeys);
        break;
      case 'unhandled':
        unhandled.push({ problem: entry.problem, at });
        break;
    }
  }

  const all = [...acquisitions.values()];
  return {
    acquisitions: all,
    acquisitionsOf: groupBy(all, ({ storedKey }) => storedKey),
    runs: [...runs.values()],
    processed,
    completedAt,
    finalStates,
    killedAt,
    removed,
    struck,
    clockSetBackAt,
    dataLosses,
    outages,
    leftBehind,
    unhandled,
    endedAt: entries.at(-1)?.at ?? 0,
  };
}

function sent(request: Pick<LeaseRequest, 'sentAt' | 'ms' | 'reservedFor'>): LeaseRequest {
  return { ...request, answeredAt: Number.POSITIVE_INFINITY, ok: undefined };
}

/** Answers come in the order of the requests. */
function answer(requests: readonly LeaseRequest[], at: number, ok: boolean | undefined): void {
  const request = requests.find(({ answeredAt }) => answeredAt === Number.POSITIVE_INFINITY);
  if (!request) throw new Error('the history has an answer to a request that was never sent');
  request.answeredAt = at;
  request.ok = ok;
}

function known<Item>(items: ReadonlyMap<string, Item>, name: string): Item {
  const item = items.get(name);
  if (!item) throw new Error(`the history mentions ${name} before it begins`);
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
