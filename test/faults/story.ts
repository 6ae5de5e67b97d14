/** Writes a history by hand: one fact after another, with its time in ms and its process. */

import type { LineKind } from '../../src/cache/contract.ts';
import { check } from './checker.ts';
import type { Entry, Fact } from './history.ts';

const TTL = 1000;
export const KEY = '::once:1:queue:k';

/** How all jobs of a story ask for their key. */
interface Terms {
  readonly places?: number;
  readonly line?: LineKind;
}

export class Story {
  readonly entries: Entry[] = [];
  readonly #terms: Terms;

  constructor(terms: Terms) {
    this.#terms = terms;
  }

  record(at: number, pid: number, fact: Fact): this {
    this.entries.push({ at, pid, ...fact });
    return this;
  }

  /** An acquisition that is granted. Its token is the name of its job. */
  acquired(at: number, pid: number, owner: string, fence: number): this {
    return this.acquire(at, pid, owner).record(at + 1, pid, { event: 'acquired', token: owner, fence });
  }

  refused(at: number, pid: number, owner: string, by: string, fence: number): this {
    const holder = { owner: by, attempt: 1, fence, state: 'running' };
    return this.acquire(at, pid, owner).record(at + 1, pid, { event: 'refused', token: owner, holder });
  }

  acquire(at: number, pid: number, owner: string, token: string = owner): this {
    this.received(at, pid, owner);
    const step = { storedKey: KEY, token, owner, attempt: 1, ttl: TTL, ...this.#terms };
    return this.record(at, pid, { event: 'acquire', ...step });
  }

  /** The same job asks again, and is granted its key. */
  acquiredAgain(at: number, pid: number, owner: string, fence: number): this {
    const token = `${owner} again`;
    return this.acquire(at, pid, owner, token).record(at + 1, pid, { event: 'acquired', token, fence });
  }

  /** An acquisition that is refused, and joins the line. */
  parked(at: number, pid: number, owner: string, by: string, fence: number): this {
    const holder = { owner: by, attempt: 1, fence, state: 'running' };
    return this.acquire(at, pid, owner)
      .record(at + 1, pid, { event: 'refused', token: owner, holder, standing: 'in-line' })
      .record(at + 2, pid, { event: 'processed', owner, attempt: 1, outcome: 'parked' });
  }

  /** A job that completes with the result of another. */
  shared(at: number, pid: number, owner: string, result: string): this {
    const token = `${owner} again`;
    return this.acquire(at, pid, owner, token)
      .record(at + 1, pid, { event: 'refused', token, standing: 'answered' })
      .record(at + 2, pid, { event: 'processed', owner, attempt: 1, outcome: 'shared', result })
      .record(at + 3, pid, { event: 'completed', owner })
      .record(9000, 0, { event: 'final-state', owner, state: 'completed', result });
  }

  /** Work fails, and its key is reserved for its retry. */
  reserved(at: number, pid: number, owner: string): this {
    return this.step(at, pid)
      .record(at, pid, { event: 'ended', run: pid, outcome: 'failed' })
      .record(at, pid, { event: 'release', token: owner, dedupeFor: 0, reservedFor: 60_000 })
      .record(at + 1, pid, { event: 'released', token: owner, ok: true })
      .failed(at + 2, pid, owner, 'oh');
  }

  received(at: number, pid: number, owner: string): this {
    return this.record(at, pid, { event: 'received', owner, attempt: 1, storedKey: KEY });
  }

  renewed(at: number, pid: number, token: string, ok = true): this {
    this.record(at, pid, { event: 'renew', token, ttl: TTL });
    return this.record(at + 1, pid, { event: 'renewed', token, ok });
  }

  released(at: number, pid: number, token: string, ok = true, dedupeFor = 0): this {
    this.record(at, pid, { event: 'release', token, dedupeFor });
    return this.record(at + 1, pid, { event: 'released', token, ok });
  }

  /** Work starts. A process has one run here. */
  started(at: number, pid: number, owner: string, fence: number): this {
    return this.record(at, pid, { event: 'started', run: pid, owner, fence });
  }

  step(at: number, pid: number, held = true, aborted = false): this {
    return this.record(at, pid, { event: 'step', run: pid, held, aborted });
  }

  /** Work runs to its end, and its job completes. */
  ended(at: number, pid: number, owner: string, released = true, token: string = owner): this {
    return this.step(at, pid)
      .record(at, pid, { event: 'ended', run: pid, outcome: 'finished', result: `the result of ${owner}` })
      .released(at, pid, token, released)
      .completed(at + 2, pid, owner, 'finished');
  }

  completed(at: number, pid: number, owner: string, outcome: 'finished' | 'skipped'): this {
    this.record(at, pid, { event: 'processed', owner, attempt: 1, outcome });
    return this.record(at + 1, pid, { event: 'completed', owner }).finalState(owner);
  }

  failed(at: number, pid: number, owner: string, code: string): this {
    return this.record(at, pid, { event: 'processed', owner, attempt: 1, outcome: 'failed', code });
  }

  finalState(owner: string, state = 'completed'): this {
    return this.record(9000, 0, { event: 'final-state', owner, state });
  }

  removed(at: number, owner: string): this {
    return this.record(at, 0, { event: 'removed', owner });
  }

  get violations(): string[] {
    return check(this.entries.sort((a, b) => a.at - b.at)).map(
      ({ guarantee, what }) => `${guarantee}: ${what}`,
    );
  }
}

export function story(terms: Terms = {}): Story {
  return new Story(terms);
}
