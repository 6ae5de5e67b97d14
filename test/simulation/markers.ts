/** How BullMQ wakes workers that wait: by markers, of which a worker takes the one with the lowest score. */

export class Markers {
  /** Something may be fetched: 0, or when the next delayed job is due. */
  readonly #scores = new Map<string, number>();
  #waiters: ((score: number) => void)[] = [];

  add(name: string, score: number): void {
    this.#scores.set(name, score);
    const waiter = this.#waiters.shift();
    if (waiter) waiter(this.#take() as number);
  }

  clear(): void {
    this.#scores.clear();
  }

  /** Calls back when there is one. @returns what ends it. */
  wait(onMarker: (score: number) => void): () => void {
    const score = this.#take();
    if (score !== undefined) {
      onMarker(score);
      return () => {};
    }
    this.#waiters.push(onMarker);
    return () => {
      this.#waiters = this.#waiters.filter(one => one !== onMarker);
    };
  }

  #take(): number | undefined {
    const [first] = [...this.#scores].sort(([, a], [, b]) => a - b);
    if (!first) return undefined;
    this.#scores.delete(first[0]);
    return first[1];
  }
}
