import { expect } from 'chai';
import { GUARANTEES, type GuaranteeName } from '../../../src/conformance/suite.ts';
import { allCaches } from '../../support/caches.ts';
import { readDoc } from '../../support/index.ts';

describe('docs/caches.md', () => {
  it('says of each cache which guarantees it keeps, as the tests declare them', async () => {
    const columns: GuaranteeName[] = ['acrossInstances', 'foreignValues', 'outages', 'retention', 'listing'];
    const rows = new Map<string, string>();
    for (const { row, guarantees = {} } of allCaches) {
      const others = Object.keys(guarantees).filter(name => !columns.includes(name as GuaranteeName));
      expect(others, `${row} does not keep a guarantee that has no column in the table`).to.deep.equal([]);
      const cells = columns.map(name => (guarantees[name] === false ? 'no' : 'yes')).join(' ');
      expect(rows.get(row) ?? cells, `the entries of ${row} differ`).to.equal(cells);
      rows.set(row, cells);
    }

    const lines = (await readDoc('docs/caches.md')).split('\n').filter(line => line.startsWith('| '));
    for (const [row, cells] of rows) {
      const line = lines.find(one => one.startsWith(`| ${row} `) && / (yes|no) /.test(one));
      const documented = line
        ?.split('|')
        .slice(2, 7)
        .map(cell => cell.trim().split(/\W/)[0]);
      expect(documented?.join(' '), `the table on ${row}`).to.equal(cells);
    }
    expect(Object.keys(GUARANTEES)).to.include.members(columns);
  });
});
