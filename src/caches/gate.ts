/**
 * Lets many go on, a few in each turn of the event loop. Let go all at once, the jobs of one batch would end, be told
 * to the server and be answered together, for ever after: client and server would wait for each other by turns, and a
 * worker without other work would lose a tenth of its throughput.
 */

/** How many go on in one turn. Measured: half of it and twice of it are no better. */
const AT_ONCE = 8;

export class Gate {
  readonly #groups: (() => void)[] = [];
  #group: Promise<void> | undefined;
  #waiting = 0;

  /** @returns a promise that resolves when the gate is open for whoever asked. */
  wait(): Promise<void> {
    if (!this.#group || this.#waiting % AT_ONCE === 0) {
      this.#group = new Promise(resolve => {
        this.#groups.push(resolve);
      });
    }
    this.#waiting++;
    return this.#group;
  }

  /** Opens it: at once for the first few, then turn by turn. */
  open(): void {
    this.#groups.shift()?.();
    if (this.#groups.length > 0) setImmediate(() => this.open());
  }
}
