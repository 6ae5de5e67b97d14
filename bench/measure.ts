/** Measures contenders against each other: they take turns in several rounds, of which it gives medians and ratios. */

/** Figures of one run, by name. */
export type Figures = Readonly<Record<string, number>>;

export interface Contender {
  readonly name: string;
  run(): Promise<Figures>;
}

/** The median of each figure over all rounds, and of its ratio to the first contender's figure of the same round. */
export interface Measured {
  readonly name: string;
  readonly median: Figures;
  readonly ratio: Figures;
}

/**
 * Runs all contenders once a round, and every other round in reverse, so that a machine that becomes slower harms all alike.
 * @param contenders - the others are compared with the first.
 */
export async function measure(contenders: readonly Contender[], rounds: number): Promise<Measured[]> {
  const runs = contenders.map((): Figures[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = [...contenders.keys()];
    if (round % 2) order.reverse();
    for (const i of order) runs[i]?.push(await (contenders[i] as Contender).run());
  }
  const [floor = []] = runs;
  return contenders.map(({ name }, i) => {
    const own = runs[i] ?? [];
    const figures = Object.keys(own[0] ?? {});
    const each = (value: (run: Figures, round: number, figure: string) => number): Figures =>
      Object.fromEntries(
        figures.map(figure => [figure, median(own.map((run, round) => value(run, round, figure)))]),
      );
    return {
      name,
      median: each((run, _, figure) => run[figure] ?? Number.NaN),
      ratio: each(
        (run, round, figure) => (run[figure] ?? Number.NaN) / (floor[round]?.[figure] ?? Number.NaN),
      ),
    };
  });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
