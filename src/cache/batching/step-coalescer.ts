/**
 * Coalesces lists of steps, as `Coalescer` does batches: a few calls are under way at a time, and what comes meanwhile leaves as one
 * call, in the order in which it came.
 */

/** A list of steps does not wait longer than this for calls that hang. */
const MAX_WAIT_MS = 1000;

export interface CallLimits {
  /** How many calls are under way before others wait. */
  readonly maxCalls: number;
  /** How many steps those that wait make one call of. A longer list is a call of its own. */
  readonly maxSteps: number;
}

interface Waiting<Step, Answer> {
  readonly steps: readonly Step[];
  readonly onAnswers: (answers: readonly Answer[]) => void;
}

export class StepCoalescer<Step, Answer> {
  readonly #send: (steps: readonly Step[]) => Promise<readonly Answer[]>;
  readonly #limits: CallLimits;
  readonly #waiting: Waiting<Step, Answer>[] = [];
  #calls = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param send - answers each step of a call, in its order; never rejects. */
  constructor(send: (steps: readonly Step[]) => Promise<readonly Answer[]>, limits: CallLimits) {
    this.#send = send;
    this.#limits = limits;
  }

  /** Sends the steps before it returns its promise, unless they have to wait. */
  take(steps: readonly Step[]): Promise<readonly Answer[]> {
    if (this.#calls < this.#limits.maxCalls && this.#waiting.length === 0) return this.#call(steps);
    return new Promise(onAnswers => {
      this.#waiting.push({ steps, onAnswers });
      this.#timer ??= setTimeout(this.#sendNext, MAX_WAIT_MS).unref();
    });
  }

  async #call(steps: readonly Step[]): Promise<readonly Answer[]> {
    this.#calls++;
    try {
      return await this.#send(steps);
    } finally {
      this.#calls--;
      if (this.#waiting.length > 0) this.#sendNext();
    }
  }

  readonly #sendNext = (): void => {
    const together = this.#waiting.splice(0, this.#countTogether());
    clearTimeout(this.#timer);
    this.#timer = this.#waiting.length > 0 ? setTimeout(this.#sendNext, MAX_WAIT_MS).unref() : undefined;
    void this.#call(together.flatMap(({ steps }) => steps)).then(answers => {
      let first = 0;
      for (const { steps, onAnswers } of together) {
        onAnswers(answers.slice(first, first + steps.length));
        first += steps.length;
      }
    });
  };

  /** How many of those that wait one call can carry: at least one. */
  #countTogether(): number {
    let count = 0;
    let steps = 0;
    for (const one of this.#waiting) {
      steps += one.steps.length;
      if (count > 0 && steps > this.#limits.maxSteps) break;
      count++;
    }
    return count;
  }
}
