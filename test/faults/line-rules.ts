/** What the strategies owe that park their duplicates: an order, every job, or the newest. */

import { type Account, type Acquisition, groupBy, type ProcessedJob } from './account.ts';
import { type Finding, isOnlyLine, wasDataLost } from './finding.ts';

/** Under `'in-order'` every job runs to its end itself. */
export function* findNotRunInOrder({ processed }: Account): Iterable<Finding> {
  for (const { owner, outcome, acquisition, storedKey, at } of processed) {
    if (outcome !== 'skipped' && outcome !== 'shared') continue;
    // A job whose work is done is not run again.
    const isDone = acquisition?.holder?.owner === owner;
    if (acquisition?.line !== 'all' || isDone) continue;
    yield [`${owner} was ${outcome} in the line of '${storedKey}', and was to run itself`, at];
  }
}

/** Under `'keep-last'` and `'replace'` only an older job is skipped, and the newest has run. */
export function* findNewestNotRun(account: Account): Iterable<Finding> {
  const { processed, finalStates, removed, endedAt } = account;
  const hasRun = new Set(account.runs.filter(isFinished).map(({ owner }) => owner));
  for (const [storedKey, all] of groupBy(processed, ({ storedKey }) => storedKey)) {
    if (!isOnlyLine(account, storedKey, 'newest')) continue;
    const jobs = [...new Map(all.map(job => [job.owner, job])).values()];
    for (const job of jobs) {
      const { owner } = job;
      if (finalStates.get(owner)?.state !== 'completed' || hasRun.has(owner)) continue;
      // What was removed, or has failed for good, may have been the newest when the job was skipped.
      const isExcuse = (other: string) =>
        hasRun.has(other) || removed.has(other) || finalStates.get(other)?.state === 'failed';
      if (jobs.some(other => isNewer(other, job) && isExcuse(other.owner))) continue;
      yield [`${owner} did not run, and no newer job of '${storedKey}' has`, endedAt];
    }
  }
}

/** Of two queues nobody knows. */
function isNewer(one: ProcessedJob, other: ProcessedJob): boolean {
  const [queue, number] = numberOf(one.owner);
  const [otherQueue, otherNumber] = numberOf(other.owner);
  return queue !== otherQueue || number > otherNumber;
}

function numberOf(owner: string): [queue: string, number: number] {
  const [, queue = '', number = ''] = /^(.*):(\d+)@/.exec(owner) ?? [];
  return [queue, Number(number)];
}

/** The stay of an owner in a line: from when it may have joined it until it is granted the key. */
interface Stay {
  readonly owner: string;
  /** When it was first sent: not before that did it join. */
  readonly since: number;
  /** When it was certainly in the line. */
  joinedAt: number;
  grantSentAt: number;
  grantedAt: number;
}

/** Nobody jumps a line of which all run in their order. */
export function* findJumpers(account: Account): Iterable<Finding> {
  for (const [storedKey, acquisitions] of account.acquisitionsOf) {
    // With several places those who get them in one moment may begin in any order.
    if (!isOnlyLine(account, storedKey, 'all') || acquisitions.some(({ places }) => places > 1)) continue;
    const stays = [...groupBy(acquisitions, ({ owner }) => owner).values()].flatMap(staysOf);
    for (const later of stays) {
      if (later.grantedAt === Number.POSITIVE_INFINITY) continue;
      const passed = stays.find(
        one =>
          one.joinedAt < later.since &&
          one.grantSentAt > later.grantedAt &&
          !account.removed.has(one.owner) &&
          !account.struck.has(`${storedKey} ${one.owner}`) &&
          !wasDataLost(account, one.since, later.grantedAt),
      );
      if (!passed) continue;
      yield [
        `${later.owner} acquired '${storedKey}' before ${passed.owner}, which had joined its line before`,
        later.grantedAt,
      ];
    }
  }
}

/** @param acquisitions - of one owner, in their order. */
function staysOf(acquisitions: readonly Acquisition[]): Stay[] {
  const stays: Stay[] = [];
  let stay: Stay | undefined;
  let before: Acquisition | undefined;
  for (const one of acquisitions) {
    const { owner, sentAt, answeredAt, fence, standing } = one;
    // It reclaims its own, or what is reserved for it: it need not stand in line.
    if (before && !wasLetGo(before)) return stays;
    if (standing === 'not-in-line') {
      stay = undefined;
      continue;
    }
    stay ??= {
      owner,
      since: sentAt,
      joinedAt: Number.POSITIVE_INFINITY,
      grantSentAt: Number.POSITIVE_INFINITY,
      grantedAt: Number.POSITIVE_INFINITY,
    };
    if (!stays.includes(stay)) stays.push(stay);
    if (standing === 'in-line') stay.joinedAt = Math.min(stay.joinedAt, answeredAt);
    if (fence === 0) continue;
    Object.assign(stay, {
      joinedAt: Math.min(stay.joinedAt, answeredAt),
      grantSentAt: sentAt,
      grantedAt: answeredAt,
    });
    stay = undefined;
    before = one;
  }
  return stays;
}

function wasLetGo({ releases }: Acquisition): boolean {
  return releases.some(({ ok, reservedFor }) => ok && reservedFor === undefined);
}

function isFinished({ outcome }: Account['runs'][number]): boolean {
  return outcome === 'finished';
}
