/** Makes the clocks of this process wrong. */

/** Lets the monotonic clock run faster or slower from now on; 1 is right. */
export function setClockRate(rate: number): void {
  const real = performance.now.bind(performance);
  const from = real();
  performance.now = () => from + (real() - from) * rate;
}

const RealDate = Date;
let aheadMs = 0;

class JumpingDate extends RealDate {
  constructor(...given: []) {
    if (given.length > 0) super(...given);
    else super(JumpingDate.now());
  }

  static override now(): number {
    return RealDate.now() + aheadMs;
  }
}

/** Lets `Date` jump by some ms, forward or back. */
export function jumpDate(ms: number): void {
  globalThis.Date = JumpingDate as DateConstructor;
  aheadMs += ms;
}
