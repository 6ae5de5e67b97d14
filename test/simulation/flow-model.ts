/**
 * How BullMQ lets a parent wait for its children, and what the end of a child means for it: a part of the model of its queue. Parents and
 * children are in one queue here.
 */

import type { Children, ChildState, StoredJob } from './stored-job.ts';

export const NO_CHILDREN: Children = {};

/** What of the queue it takes. */
export interface QueueOfFlows {
  find(id: string | undefined): StoredJob | undefined;
  /** The parent need not wait any more. */
  release(parent: StoredJob, timestamp: number): void;
  /** The same where a child was removed: whatever the priority of the parent. */
  releaseToFront(parent: StoredJob): void;
  /** Takes it out of the delayed set. */
  leaveDelayed(job: StoredJob): void;
  delete(job: StoredJob): void;
}

export function idsOfChildren({ children }: StoredJob, ...states: ChildState[]): string[] {
  return Object.keys(children).filter(id => states.includes(children[id] as ChildState));
}

function hasChildren(job: StoredJob, state: ChildState): boolean {
  return idsOfChildren(job, state).length > 0;
}

/** @throws Error a child is pending, or has failed its parent. */
export function checkMayComplete(job: StoredJob): void {
  if (job.children === NO_CHILDREN) return;
  if (hasChildren(job, 'pending')) throw new Error(`Job ${job.id} has pending dependencies. moveToFinished`);
  checkNoneHasFailed(job);
}

/** @throws Error a child has failed its parent: it is not to be retried. */
function checkNoneHasFailed(job: StoredJob): void {
  if (!hasChildren(job, 'unsuccessful')) return;
  const error = new Error(`Cannot complete job ${job.id} because it has at least one failed child.`);
  throw Object.assign(error, { name: 'UnrecoverableError' });
}

/** @throws Error a child has failed its parent. */
export function hasToWait(job: StoredJob): boolean {
  checkNoneHasFailed(job);
  return hasChildren(job, 'pending');
}

export class Flows {
  readonly #queue: QueueOfFlows;

  constructor(queue: QueueOfFlows) {
    this.#queue = queue;
  }

  /** @throws Error there is no such parent. */
  adopt(child: string, parentId: string): void {
    const parent = this.#queue.find(parentId);
    if (!parent) throw new Error(`Missing key for parent job ${parentId}. addJob`);
    parent.children = { ...parent.children, [child]: 'pending' };
  }

  onCompleted(child: StoredJob, timestamp: number): void {
    const parent = this.#pendingParentOf(child);
    if (!parent) return;
    setState(parent, child, 'processed');
    this.#releaseIfNonePending(parent, timestamp);
  }

  onFailed(child: StoredJob, timestamp: number): void {
    const { onFailure } = child.opts;
    const parent = onFailure && this.#pendingParentOf(child);
    if (!parent) return;
    switch (onFailure) {
      case 'failParentOnFailure':
        setState(parent, child, 'unsuccessful');
        this.#fail(parent, `child ${child.id} failed`, timestamp);
        return;
      case 'continueParentOnFailure':
        setState(parent, child, 'failed');
        this.#releaseIfWaiting(parent, timestamp);
        return;
      case 'ignoreDependencyOnFailure':
        setState(parent, child, 'failed');
        this.#releaseIfNonePending(parent, timestamp);
        return;
      case 'removeDependencyOnFailure':
        setState(parent, child, undefined);
        this.#releaseIfNonePending(parent, timestamp);
    }
  }

  /** A child that has failed is to run again. */
  onRetried(child: StoredJob): void {
    const parent = this.#queue.find(child.opts.parent);
    const state = parent?.children[child.id];
    if (parent && (state === 'unsuccessful' || state === 'failed')) setState(parent, child, 'pending');
  }

  /** @param takesParent - a parent whose last child it is is removed with it. */
  onRemoved(child: StoredJob, { takesParent }: { readonly takesParent: boolean }): void {
    const parent = this.#pendingParentOf(child);
    if (!parent) return;
    setState(parent, child, undefined);
    if (parent.state !== 'waiting-children' || hasChildren(parent, 'pending')) return;
    if (!takesParent) {
      this.#queue.releaseToFront(parent);
      return;
    }
    this.onRemoved(parent, { takesParent });
    this.#queue.delete(parent);
  }

  /** All that are removed with a job: its children, and theirs. */
  *descendantsOf(job: StoredJob): Generator<StoredJob> {
    for (const id of idsOfChildren(job, 'processed', 'failed', 'unsuccessful', 'pending')) {
      const child = this.#queue.find(id);
      if (!child) continue;
      yield child;
      yield* this.descendantsOf(child);
    }
  }

  #pendingParentOf({ id, opts }: StoredJob): StoredJob | undefined {
    const parent = this.#queue.find(opts.parent);
    return parent?.children[id] === 'pending' ? parent : undefined;
  }

  #releaseIfNonePending(parent: StoredJob, timestamp: number): void {
    if (!hasChildren(parent, 'pending')) this.#releaseIfWaiting(parent, timestamp);
  }

  #releaseIfWaiting(parent: StoredJob, timestamp: number): void {
    if (parent.state === 'waiting-children') this.#queue.release(parent, timestamp);
  }

  /** It fails without its processor when it is handed out: at once, also where it is delayed. */
  #fail(parent: StoredJob, reason: string, timestamp: number): void {
    if (parent.state === 'failed') return;
    parent.deferredFailure = reason;
    if (parent.state === 'delayed') {
      this.#queue.leaveDelayed(parent);
      parent.delay = 0;
    } else if (parent.state !== 'waiting-children') return;
    this.#queue.release(parent, timestamp);
  }
}

function setState(parent: StoredJob, { id }: StoredJob, state: ChildState | undefined): void {
  const { [id]: _before, ...others } = parent.children;
  parent.children = state ? { ...others, [id]: state } : others;
}
