/** Measures contenders against each other: they take turns in several rounds, of which it gives medians, ratios and spreads. */

/** Figures of one run, by name. */
export type Figures = Readonly<Record<string, number>>;

export interface Contender {
  readonly name: string;
  run(): Promise<Figures>;
}

/** A figure over all rounds. */
export interface Summary {
  readonly median: number;
  /** The interquartile range, as a part of the median: what differs by less may be noise. */
  readonly spread: number;
}

export interface Measured {
  readonly name: string;
  /** Each figure that `run` gave. */
  readonly figures: Readonly<Record<string, Summary>>;
  /** The ratio of each figure to the first contender's figure of the same round. */
  readonly ratios: Readonly<Record<string, Summary>>;
}

/**
 * Runs all contenders once a round. What they do to warm up is theirs to do before.
 * @param contenders - the others are compared with the first.
 */
export async function measure(contenders: readonly Contender[], rounds: number): Promise<Measured[]> {
  const runs = contenders.map((): Figures[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const i of turns(contenders.length, round)) {
      runs[i]?.push(await (contenders[i] as Contender).run());
    }
  }
  const [floor = []] = runs;
  return contenders.map(({ name }, i) => {
    const own = runs[i] ?? [];
    const names = Object.keys(own[0] ?? {});
    const each = (value: (run: Figures, round: number, figure: string) => number) =>
      Object.fromEntries(
        names.map(figure => [figure, summary(own.map((run, round) => value(run, round, figure)))]),
      );
    return {
      name,
      figures: each((run, _, figure) => run[figure] ?? Number.NaN),
      ratios: each(
        (run, round, figure) => (run[figure] ?? Number.NaN) / (floor[round]?.[figure] ?? Number.NaN),
      ),
    };
  });
}

/**
 * The order of a round. Every other round is the one before in reverse, so that a machine that becomes slower harms all alike;
 * and each such pair of rounds begins with another contender, so that none is always first, or always after the same one.
 */
function turns(contenders: number, round: number): number[] {
  const order = Array.from({ length: contenders }, (_, i) => (i + (round >> 1)) % contenders);
  return round % 2 ? order.reverse() : order;
}

export function summary(values: readonly number[]): Summary {
  const range = quantile(values, 0.75) - quantile(values, 0.25);
  const middle = median(values);
  return { median: middle, spread: range === 0 ? 0 : range / Math.abs(middle) };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Between two values it interpolates. */
function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * part;
  const lower = sorted[Math.floor(at)] ?? Number.NaN;
  const upper = sorted[Math.ceil(at)] ?? Number.NaN;
  return lower + (upper - lower) * (at - Math.floor(at));
}
