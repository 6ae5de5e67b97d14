import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Recorder, readHistory } from './history.ts';

describe('A history', () => {
  it('is read back in the order of time, without a last line that is not whole (its process was killed)', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-history-'));
    const recorder = new Recorder(folder);
    recorder.record({ event: 'killed', of: 2 }, 2);
    recorder.record({ event: 'killed', of: 1 }, 1);
    recorder.close();
    appendFileSync(join(folder, '1.jsonl'), '{"at":3,"pid":1,"event":"kil');

    const entries = readHistory(folder);
    rmSync(folder, { recursive: true });

    const { pid } = process;
    expect(entries).to.deep.equal([
      { at: 1, pid, event: 'killed', of: 1 },
      { at: 2, pid, event: 'killed', of: 2 },
    ]);
  });
});
