/**
 * A step that is sent again until the cache has answered it: after an error, and where no answer comes. That does no harm, because a
 * step acts only where its token is stored.
 */

import type { Listed } from './lease-list.ts';

/** The pause before a step that failed is sent once more: after the second failure, and at most. */
const MIN_RETRY_PAUSE_MS = 10;
const MAX_RETRY_PAUSE_MS = 5000;
/** A step without an answer is sent again after this part of its lease's ttl, then after twice that, and so on. */
const UNANSWERED_PART = 1 / 12;
const MIN_UNANSWERED_MS = 50;

/** A time on the monotonic clock, and what to do then. It may give itself a later time; otherwise it is over. */
export interface Deadline extends Listed {
  readonly at: number;
  readonly onMissed: (now: number) => void;
}

/** The deadlines that one timer looks after. */
export interface Deadlines {
  /** Adds a deadline, or looks at its time again. */
  add(deadline: Deadline): void;
  /** @returns whether it was listed. */
  delete(deadline: Deadline): boolean;
}

/** What is to be sent, and what becomes of its answer. */
export interface StepToSend {
  readonly send: (onAnswer: (answer: boolean | Error) => void) => void;
  /** The ttl of its lease. */
  readonly ttl: number;
  /** When the last try begins, on the monotonic clock. */
  readonly until: number;
  /** Called at each failure. */
  readonly onError: (error: Error) => void;
  /**
   * Called once: with the first answer, or with the last error.
   * @param isFirstTry - it was sent once. Otherwise an earlier try may have done what a later one finds done.
   */
  readonly onAnswer: (answer: boolean | Error, isFirstTry: boolean) => void;
  /** Called once where no answer has come until then. One may come later. */
  readonly onOverdue?: () => void;
  /** Someone waits for the answer. */
  readonly isAwaited: boolean;
}

export class PersistentStep implements Deadline {
  at = 0;
  isListed = false;
  readonly #step: StepToSend;
  readonly #deadlines: Deadlines;
  #tries = 0;
  #isOver = false;
  /** How long an answer is waited for before the step is sent again. */
  #patience: number;
  /** The pause before the step is sent again after an error. At first none: one dropped connection is the most likely cause. */
  #pause = 0;

  constructor(step: StepToSend, deadlines: Deadlines) {
    this.#step = step;
    this.#deadlines = deadlines;
    this.#patience = Math.max(step.ttl * UNANSWERED_PART, MIN_UNANSWERED_MS);
  }

  send(): void {
    const nth = ++this.#tries;
    const now = performance.now();
    const { until } = this.#step;
    this.at = Math.min(now + this.#patience, until);
    if (now < until) this.#deadlines.add(this);
    this.#step.send(answer => this.#onAnswer(answer, nth));
  }

  /** No answer has come. */
  onMissed(now: number): void {
    if (now < this.#step.until) {
      this.#patience *= 2;
      this.send();
      return;
    }
    this.#step.onOverdue?.();
  }

  #onAnswer(answer: boolean | Error, nth: number): void {
    if (this.#isOver) return;
    if (answer instanceof Error) {
      // Another try is under way, and may do better.
      if (nth !== this.#tries) return;
      this.#step.onError(answer);
      if (performance.now() + this.#pause < this.#step.until) {
        this.#sendAfterPause();
        return;
      }
    }
    this.#isOver = true;
    this.#deadlines.delete(this);
    this.#step.onAnswer(answer, this.#tries === 1);
  }

  #sendAfterPause(): void {
    this.at = this.#step.until;
    const pause = this.#pause;
    this.#pause = Math.max(pause * 2, MIN_RETRY_PAUSE_MS);
    if (pause === 0) {
      this.send();
      return;
    }
    const timer = setTimeout(() => this.#isOver || this.send(), Math.min(pause, MAX_RETRY_PAUSE_MS));
    // Nothing else may keep a process alive that awaits the answer.
    if (!this.#step.isAwaited) timer.unref();
  }
}
