/** Those who view the page of a board. Its datastores are looked at for them alone. */

/** After an answer the page will ask again, unless it is closed. */
const STAY_MS = 5000;

export class Viewers {
  #waiting = 0;
  #lookingUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #controller = new AbortController();

  /**
   * Works for a viewer that waits for an answer.
   * @param gone - aborted when the viewer has left without an answer.
   * @param work - the signal that it is given is aborted when nobody views the page any more.
   */
  async serve<Result>(gone: AbortSignal, work: (unviewed: AbortSignal) => Promise<Result>): Promise<Result> {
    this.#waiting++;
    clearTimeout(this.#timer);
    const leave = onceOnly(() => this.#leave());
    gone.addEventListener('abort', leave);
    if (gone.aborted) leave();
    try {
      const result = await work(this.#controller.signal);
      if (!gone.aborted) this.#lookingUntil = performance.now() + STAY_MS;
      return result;
    } finally {
      gone.removeEventListener('abort', leave);
      leave();
    }
  }

  /** Nobody views the page any more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#controller.abort();
    this.#controller = new AbortController();
  }

  #leave(): void {
    this.#waiting--;
    if (this.#waiting > 0) return;
    clearTimeout(this.#timer);
    const stay = this.#lookingUntil - performance.now();
    if (stay <= 0) this.close();
    else this.#timer = setTimeout(() => this.close(), stay).unref();
  }
}

function onceOnly(run: () => void): () => void {
  let hasRun = false;
  return () => {
    if (hasRun) return;
    hasRun = true;
    run();
  };
}
