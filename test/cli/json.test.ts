import { expect } from 'chai';
import { jsonLines } from '../../src/cli/json.ts';
import type { LockInfo } from '../../src/index.ts';

const LOCK: LockInfo = {
  key: 'k',
  storedKey: 'once::1:default:k',
  scope: 'default',
  state: 'running',
  owner: 'me',
  fence: 1,
  attempt: 0,
  since: 1,
  expiresIn: 1,
  ttl: 30_000,
};

describe('a lock as JSON', () => {
  it('has nothing in it that a terminal would obey, and means the same', () => {
    const ranges = [
      [0x00, 0x1f],
      [0x7f, 0x9f],
      [0x200e, 0x200f],
      [0x2028, 0x202e],
      [0x2066, 0x2069],
      [0xd800, 0xd801],
      [0xdfff, 0xdfff],
      [0xe0001, 0xe0001],
    ] as const;
    const obeyed = ranges.flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, i) => String.fromCodePoint(first + i)),
    );
    const key = obeyed.join(' ');

    const json = jsonLines([{ ...LOCK, key, owner: key }]);

    expect(JSON.parse(json)).to.include({ key, owner: key });
    expect(json.endsWith('\n')).to.equal(true);
    for (const char of obeyed) expect(json.slice(0, -1), JSON.stringify(char)).not.to.include(char);
    expect(json)
      .to.include('\\u0085')
      .and.include('\\u202e')
      .and.include('\\ud800')
      .and.include('\\udb40\\udc01');
  });

  it('leaves what can be read as it is', () => {
    const key = 'größe-名前-😀-👩‍👧-"\\u202e"';

    const json = jsonLines([{ ...LOCK, key }]);

    expect(json).to.include('größe-名前-😀-👩‍👧-');
    expect(JSON.parse(json).key).to.equal(key);
  });
});
