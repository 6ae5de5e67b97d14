/**
 * Virtual time: a heap of events. Between two events all promise callbacks run, as they do between two events of Node's loop, and
 * `nextTick` callbacks before them.
 */

interface Event {
  readonly at: number;
  /** Of events at the same time the one that was scheduled first comes first. */
  readonly nth: number;
  readonly run: () => void;
}

export class Scheduler {
  /** Virtual time, in ms. */
  now = 0;
  readonly #heap: Event[] = [];
  #scheduled = 0;
  #ticks: (() => void)[] = [];

  at(time: number, run: () => void): void {
    this.#push({ at: Math.max(time, this.now), nth: this.#scheduled++, run });
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** Runs a callback when the event under way, or its promise callbacks so far, are over. */
  nextTick(run: () => void): void {
    this.#ticks.push(run);
  }

  /** Runs events until one would come after `end`, or `isOver` says so. */
  run(end: number, isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          if (this.#ticks.length === 0) {
            const event = this.#heap[0];
            if (!event || event.at > end || isOver()) {
              resolve();
              return;
            }
            this.#pop();
            this.now = event.at;
            event.run();
          }
          this.#runTicks();
        } catch (error) {
          reject(error);
          return;
        }
        // All promise callbacks run before a tick that one of them has queued.
        queueMicrotask(next);
      };
      const next = (): void => process.nextTick(turn);
      next();
    });
  }

  #runTicks(): void {
    while (this.#ticks.length > 0) {
      const ticks = this.#ticks;
      this.#ticks = [];
      for (const tick of ticks) tick();
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.length;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent] as Event;
      if (isBefore(above, event)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (isBefore(last, heap[child] as Event)) break;
      heap[i] = heap[child] as Event;
      i = child;
    }
    heap[i] = last;
  }
}

function isBefore(one: Event, other: Event): boolean {
  return one.at < other.at || (one.at === other.at && one.nth < other.nth);
}
