/**
 * Libraries that are broken on purpose: a list of changes, each with the guarantee that it breaks. `npm run test:mutations` shows that the
 * simulation finds each of them, or else the test that is named.
 */

import type { Change } from './bundle.ts';

export interface Mutation extends Change {
  /** What is broken, in words. */
  readonly name: string;
  /** The number of the guarantee that it breaks. */
  readonly guarantee: number;
  /** The test file that finds it, where the simulation can't. */
  readonly test?: string;
}

const LOCK_RULES = 'src/cache/lock-rules.ts';
const LINE_RULES = 'src/cache/line-rules.ts';
const LEASE = 'src/lock/lease.ts';
const RENEWER = 'src/lock/lease-renewer.ts';
const HANDLE = 'src/lock/lock-handle.ts';
const WAIT_QUEUE = 'src/lock/wait-queue.ts';

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'whoever asks may reclaim a lease',
    guarantee: 1,
    file: LOCK_RULES,
    find: "if (stored.state === 'done' || stored.owner !== owner) return false;",
    replace: "if (stored.state === 'done') return false;",
  },
  {
    name: 'a key has one place more than it should',
    guarantee: 1,
    file: LINE_RULES,
    find: 'const free = step.places - places.length;',
    replace: 'const free = step.places - places.length + 1;',
  },
  {
    name: 'the scope is ignored',
    guarantee: 1,
    file: 'src/key/stored-name.ts',
    find: 'return scope === undefined ? queueName(queueQualifiedName, key) : scopedName(scope, key);',
    replace: 'return queueName(queueQualifiedName, key);',
  },
  {
    name: 'a lease that was not renewed for a while is freed, whatever BullMQ says of its job',
    guarantee: 1,
    file: 'src/guard/abandoned-lease.ts',
    find: "return fate === 'finished' || (isOverdue && (fate === 'given-up' || fate === 'gone'));",
    replace: 'return isOverdue || fate === undefined;',
  },
  {
    name: 'any token renews and releases',
    guarantee: 2,
    file: LOCK_RULES,
    find: "return stored.token === token && stored.state === 'running';",
    replace: "return token !== '' && stored.state === 'running';",
  },
  {
    name: 'a release frees the first place, whoever holds it',
    guarantee: 2,
    file: LINE_RULES,
    find: 'const own = stored.places.find(place => isHeldBy(step, place));',
    replace: 'const own = stored.places[0];',
  },
  {
    name: 'a lease lasts ten times as long as it says',
    guarantee: 3,
    file: LOCK_RULES,
    find: "const lease = { state: 'running', token, fence, attempt, since, ttl, owner, expiresAt: now + ttl } as const;",
    replace:
      "const lease = { state: 'running', token, fence, attempt, since, ttl, owner, expiresAt: now + 10 * ttl } as const;",
  },
  {
    name: 'maxHold is ignored',
    guarantee: 3,
    file: LEASE,
    find: 'return performance.now() >= this.#renewUntil;',
    replace: 'return false;',
  },
  {
    name: 'a job does not reclaim its own lease',
    guarantee: 4,
    file: LOCK_RULES,
    find: 'return stored.attempt < attempt || (stored.attempt === 0 && attempt === 0);',
    replace: 'return stored.attempt === 0 && attempt === 0;',
  },
  {
    name: 'a job repeats work that it has done',
    guarantee: 4,
    file: LOCK_RULES,
    find: "if (stored.state === 'done' || stored.owner !== owner) return false;",
    replace: 'if (stored.owner !== owner) return false;',
    test: 'test/cache/contract/memory.test.ts',
  },
  {
    name: 'each run of a job is an owner of its own',
    guarantee: 4,
    file: 'src/guard/job-context.ts',
    find: 'owner: ownerOf(job),',
    replace:
      "owner: ownerOf({ ...job, id: job.id + 'x' + attemptOf(job), queueQualifiedName: job.queueQualifiedName }),",
  },
  {
    name: 'runs are not counted',
    guarantee: 4,
    file: 'src/bullmq/job.ts',
    find: 'return job.attemptsStarted ?? 0;',
    replace: 'return Math.min(job.attemptsStarted ?? 0, 1);',
  },
  {
    name: 'a job that finds its own newer run is a duplicate like any other',
    guarantee: 4,
    file: 'src/guard/process-job.ts',
    find: 'if (owner !== terms.owner) return false;',
    replace: "if (owner !== terms.owner || owner !== '') return false;",
  },
  {
    name: 'a job that has stalled while it waited runs a second time',
    guarantee: 4,
    file: 'src/guard/process-job.ts',
    find: 'if (!isObserved && mayHaveStalled(job, receivedAt)) await checkStillOwned(context, handle);',
    replace: 'void mayHaveStalled;',
  },
  {
    name: 'what was done is not kept as done',
    guarantee: 4,
    file: HANDLE,
    find: 'await this.#releaseAtEnd(dedupeFor, keep && { result: keep(result) });',
    replace: 'await this.#releaseAtEnd(0 * dedupeFor, keep && { result: keep(result) });',
  },
  {
    name: 'a lease counts as safe for longer than it lasts',
    guarantee: 5,
    file: LEASE,
    find: 'const SAFE_PART = 0.9;',
    replace: 'const SAFE_PART = 1.5;',
  },
  {
    name: 'a lease is counted from the answer to its renewal',
    guarantee: 5,
    file: RENEWER,
    find: 'if (answer === true) lease.countFrom(sentAt);',
    replace: 'if (answer === true) lease.countFrom(performance.now());',
  },
  {
    name: 'an acquisition is granted although its answer came too late',
    guarantee: 8,
    file: RENEWER,
    find: '} else if (performance.now() >= lease.safeUntil) {',
    replace: '} else if (performance.now() < 0) {',
  },
  {
    name: 'a handle does not look at the clock',
    guarantee: 5,
    file: LEASE,
    find: "if (this.phase !== 'held' || performance.now() < this.safeUntil) return;",
    replace: "if (this.phase !== 'held' || performance.now() < Number.MAX_VALUE) return;",
  },
  {
    name: 'the signal of a lost lock does not abort',
    guarantee: 5,
    file: LEASE,
    find: 'this.#controller?.abort(this.loss);\n    emitLost(this.terms, this.fence, reason);',
    replace: 'emitLost(this.terms, this.fence, reason);',
  },
  {
    name: 'a renewal that is refused is taken for one that failed',
    guarantee: 5,
    file: RENEWER,
    find: "if (answer === false) {\n      this.#lose(lease, 'revoked');\n      return;\n    }",
    replace: 'if (answer === false) answer = true;',
  },
  {
    name: 'leases are not renewed',
    guarantee: 5,
    file: LEASE,
    find: 'const RENEW_AFTER = 1 / 3;',
    replace: 'const RENEW_AFTER = 2;',
  },
  {
    name: 'a replaced job is not told',
    guarantee: 5,
    file: 'src/duplicates/replace.ts',
    find: 'if ((await request.findLine()).parked > 0) handle.interrupt();',
    replace: 'await request.findLine();',
  },
  {
    name: 'an older run in the same process is not told that it was reclaimed',
    guarantee: 5,
    file: RENEWER,
    find: 'if (reclaimed) this.#loseEarlierRuns(lease);',
    replace: '',
    test: 'test/lock/lease-renewer.test.ts',
  },
  {
    name: 'the completion of a job does not wait until its release is sent',
    guarantee: 6,
    file: RENEWER,
    find: 'this.#release(lease, dedupeFor, keeping, { onSent: resolve });',
    replace: 'this.#release(lease, dedupeFor, keeping, {});\n      resolve();',
  },
  {
    name: 'a release on a pool of connections is not waited for',
    guarantee: 6,
    file: HANDLE,
    find: 'if (this.#releasesInOrder) return renewer?.sendRelease(this.#lease, dedupeFor, keeping);',
    replace: 'if (renewer) return renewer.sendRelease(this.#lease, dedupeFor, keeping);',
  },
  {
    name: 'a job that fails does not release',
    guarantee: 6,
    file: HANDLE,
    find: 'await this.#releaseAtEnd(0, { reservation: reserve?.(error, { isReplaced }) });',
    replace: 'void isReplaced;',
  },
  {
    name: 'a release that failed is not tried again',
    guarantee: 6,
    file: 'src/lock/persistent-step.ts',
    find: 'if (performance.now() + this.#pause < this.#step.until) {',
    replace: 'if (performance.now() < 0) {',
    test: 'test/lock/lease-release.test.ts',
  },
  {
    name: 'the release of a lock whose maxHold is over is not waited for',
    guarantee: 6,
    file: RENEWER,
    find: 'if (!wasHeld && performance.now() >= lease.safeUntil) {',
    replace: 'if (!wasHeld) {',
  },
  {
    name: 'a job that reclaims its lease gets the fence that it had',
    guarantee: 7,
    file: LINE_RULES,
    find: 'const decision = decideAcquire(step, own, at.now, fence);',
    replace: 'const decision = decideAcquire(step, own, at.now, own.fence);',
  },
  {
    name: 'fences of one key are equal',
    guarantee: 7,
    file: LOCK_RULES,
    find: 'if (!stored) return granted(grant(step, Date.now(), now, fence));',
    replace: 'if (!stored) return granted(grant(step, Date.now(), now, 1));',
  },
  {
    name: 'a job runs without a lock though it was not to',
    guarantee: 8,
    file: 'src/guard/fail-open.ts',
    find: 'if (!terms.failsOpen || !isCacheError(error)) throw error;',
    replace: 'if (!isCacheError(error)) throw error;',
  },
  {
    name: 'a job whose cache failed is a duplicate',
    guarantee: 8,
    file: 'src/guard/fail-open.ts',
    find: 'if (work.signal?.aborted) throw error;',
    replace:
      "if (work.signal?.aborted) throw error;\n    if (isCacheError(error) && !work.request.terms.failsOpen) return { acquired: false, holder: { owner: '', state: 'running', expiresIn: 1 } as never };",
  },
  {
    name: 'what was done fails its duplicates',
    guarantee: 8,
    file: 'src/duplicates/skip-or-raise.ts',
    find: "holder.state === 'done' ? skipDuplicate(request, holder) : raiseDuplicate(request, holder),",
    replace: 'raiseDuplicate(request, holder),',
  },
  {
    name: 'a duplicate is delayed more often than it may be',
    guarantee: 8,
    file: 'src/duplicates/delay.ts',
    find: 'if (countDelays(job) >= limit || !mayStartAgain(job)) raiseDuplicate(request, holder);',
    replace: 'if (countDelays(job) > limit || !mayStartAgain(job)) raiseDuplicate(request, holder);',
  },
  {
    name: 'the result of a job is dropped',
    guarantee: 9,
    file: HANDLE,
    find: 'await this.#releaseAtEnd(dedupeFor, keep && { result: keep(result) });\n    return result;',
    replace:
      'await this.#releaseAtEnd(dedupeFor, keep && { result: keep(result) });\n    return (result && undefined) as Result;',
  },
  {
    name: 'the error of a job is replaced',
    guarantee: 9,
    file: HANDLE,
    find: 'await this.#releaseAtEnd(0, { reservation: reserve?.(error, { isReplaced }) });\n      throw error;',
    replace:
      'await this.#releaseAtEnd(0, { reservation: reserve?.(error, { isReplaced }) });\n      throw new Error(String(error));',
  },
  {
    name: 'a listener that throws harms the job',
    guarantee: 9,
    file: 'src/events/emitter.ts',
    find: '} catch (error) {\n    report(error);\n  }',
    replace: '} catch (error) {\n    throw error;\n  }',
  },
  {
    name: 'observed work that would be a duplicate does not run',
    guarantee: 9,
    file: 'src/guard/observe.ts',
    find: 'return work.run(work.request.unguarded());\n    },',
    replace: 'return Promise.resolve();\n    },',
  },
  {
    name: 'whoever comes may have a free place, whoever is in the line',
    guarantee: 10,
    file: LINE_RULES,
    find: "if (line === 'all' ? ahead < free : free > 0) {",
    replace: 'if (free > 0) {',
  },
  {
    name: 'the line is last in, first out',
    guarantee: 10,
    file: LINE_RULES,
    find: 'parked: [...parked, me] }',
    replace: 'parked: [me, ...parked] }',
  },
  {
    name: 'a job that is refused does not join the line in the same step',
    guarantee: 10,
    file: LINE_RULES,
    find: 'stored: { ...stored, parked: [...parked, me] } };',
    replace: 'stored };',
  },
  {
    name: 'an older job runs after a newer one',
    guarantee: 10,
    file: LINE_RULES,
    find: "if (line === 'newest' && position < 0) {",
    replace: "if (line === 'newest' && position < -1) {",
  },
  {
    name: 'the lower number is the newer job',
    guarantee: 10,
    file: LINE_RULES,
    find: 'return (age.number as number) < (other.number as number) && !isOfNewCount;',
    replace: 'return (age.number as number) > (other.number as number) && !isOfNewCount;',
  },
  {
    name: 'a job does not give way to those that were handed out before it',
    guarantee: 10,
    file: 'src/duplicates/line.ts',
    find: 'if (jobs) await giveWay(work, jobs);',
    replace: 'void giveWay;',
  },
  {
    name: "a release says that it is nobody's turn",
    guarantee: 10,
    file: LINE_RULES,
    find: 'return line && stored.parked[free - 1]?.owner;',
    replace: 'return line && stored.parked[free + 999]?.owner;',
  },
  {
    name: 'promotions are lost',
    guarantee: 10,
    file: 'src/bullmq/promote.ts',
    find: 'await job.promote();',
    replace: 'void job.promote;',
  },
  {
    name: 'a job that was parked does not look once more',
    guarantee: 10,
    file: 'src/duplicates/line.ts',
    find: "if (mayBeItsTurn || request.terms.line?.kind === 'together') void lookAgain(work);",
    replace: 'void [lookAgain, mayBeItsTurn];',
  },
  {
    name: "an owner can't be struck out of a line",
    guarantee: 10,
    file: LINE_RULES,
    find: 'return parked.length < stored.parked.length ? { ...stored, parked } : stored;',
    replace: 'return parked.length > stored.parked.length ? { ...stored, parked } : stored;',
  },
  {
    name: 'a wait queue is one of a connection',
    guarantee: 10,
    file: WAIT_QUEUE,
    find: 'const datastore = cache.datastore ?? cache;',
    replace: 'const datastore = cache;',
  },
  {
    name: 'those who wait all ask at once',
    guarantee: 10,
    file: WAIT_QUEUE,
    find: 'if (this.#waiters[0] === waiter) waiter.serve();',
    replace: 'waiter.serve();',
  },
  {
    name: 'a reservation is believed for ever',
    guarantee: 11,
    file: 'src/guard/abandoned-lease.ts',
    find: "return fate !== 'to-run';",
    replace: 'return false;',
  },
  {
    name: 'a reservation is not believed',
    guarantee: 11,
    file: 'src/guard/abandoned-lease.ts',
    find: "return fate !== 'to-run';",
    replace: 'return true;',
  },
  {
    name: 'a reservation is a release',
    guarantee: 11,
    file: LOCK_RULES,
    find: '  if (reservation) {\n    const { lastsFor } = reservation;',
    replace: '  if (reservation && dedupeFor < 0) {\n    const { lastsFor } = reservation;',
  },
  {
    name: 'a job that failed for good reserves its key',
    guarantee: 11,
    file: 'src/guard/reserve.ts',
    find: 'if (!mayRunAgain(job, error)) return undefined;',
    replace: '',
  },
  {
    name: 'a job that moved itself reserves nothing',
    guarantee: 11,
    file: 'src/bullmq/retries.ts',
    find: 'return factsOf(error).message === RATE_LIMITED || isA(MOVED, error);',
    replace: 'return factsOf(error).message === RATE_LIMITED;',
  },
  {
    name: 'a replaced job reserves its key',
    guarantee: 11,
    file: 'src/guard/job-context.ts',
    find: 'isReplaced && !wasMoved(error) ? undefined : reservationFor',
    replace: 'isReplaced && !wasMoved(error) && error === undefined ? undefined : reservationFor',
  },
  {
    name: 'a key that is kept as done is free (Redis)',
    guarantee: 4,
    file: 'src/cache/redis/line-scripts.ts',
    find: 'problem = replacePlace(key, own, token, done .. sub(own.record, TOKEN_AT), dedupeFor)',
    replace: 'problem = nil',
    test: 'test/cache/same-line-rules.test.ts',
  },
  {
    name: 'any token releases (PostgreSQL)',
    guarantee: 2,
    file: 'src/cache/postgres/step-sql.ts',
    find: "AND l.token = step.token AND l.state = 'running' AND l.expires > clock_timestamp();",
    replace: "AND l.state = 'running' AND l.expires > clock_timestamp();",
    test: 'test/cache/same-rules.test.ts',
  },
];
