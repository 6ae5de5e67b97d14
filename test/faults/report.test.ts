import { expect } from 'chai';
import { withReport } from './report.ts';
import { tableOf } from './table.ts';

describe('The report of a run with faults', () => {
  const outcome = { injected: 3, jobs: 20, runs: 18, skipped: 1, parked: 1, shared: 0, aborted: 2 };
  const table = tableOf(
    new Map([
      [
        'FLUSHALL',
        [
          { ...outcome, violations: ['one'], folder: undefined },
          { ...outcome, violations: [], folder: undefined },
        ],
      ],
    ]),
  );
  const trials = new Map([
    ['many locks', { rounds: 3, figures: '900 locks', violations: ['2 were lost', '1 was lost'] }],
    ['bad input', { rounds: 3, figures: '2000 choices', violations: [] }],
  ]);
  const report = { minutes: 60, seed: 7, table, trials };

  it('adds up the rounds of a fault, and of all', () => {
    expect(table.split('\n')).to.deep.equal([
      '| fault    | injected | jobs | runs | skipped | parked | shared | aborted | violations |',
      '| -------- | -------: | ---: | ---: | ------: | -----: | -----: | ------: | ---------: |',
      '| FLUSHALL |        6 |   40 |   36 |       2 |      2 |      0 |       4 |          1 |',
      '| all      |        6 |   40 |   36 |       2 |      2 |      0 |       4 |          1 |',
    ]);
  });

  it('takes the place of the last one, and changes nothing else', () => {
    const docs =
      'before\n\n<!-- written by: npm run test:faults -- --write -->\n\nold\n\n<!-- end -->\n\nafter\n';

    const once = withReport(docs, report);

    expect(once).to.match(
      /^before\n\n<!--[^\n]*-->\n\n60 minutes of it \(`--seed 7`; Node [\d.]+, \d+ cores\)/,
    );
    expect(once).to.match(
      /\| all [\s\S]*\n\nThe same run also tried:\n\n- many locks: 900 locks; \*\*found in 3 rounds: 2 were lost; 1 was lost\*\*\n- bad input: 2000 choices\n\n<!-- end -->\n\nafter\n$/,
    );
    expect(once).not.to.include('old');
    expect(withReport(once, report)).to.equal(once);
  });

  it('is refused by docs that have no place for it', () => {
    expect(() => withReport('docs', report)).to.throw("docs/faults.md has no '<!-- written by");
  });
});
