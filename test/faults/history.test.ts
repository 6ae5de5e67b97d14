import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Recorder, readHistory } from './history.ts';

describe('A history', () => {
  it('is read back in the order of time, without a last line that is not whole (its process was killed)', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-history-'));
    const recorder = new Recorder(folder);
    recorder.record({ event: 'fault', name: 'second' }, 2);
    recorder.record({ event: 'fault', name: 'first' }, 1);
    recorder.close();
    appendFileSync(join(folder, '1.jsonl'), '{"at":3,"pid":1,"event":"fau');

    const entries = readHistory(folder);
    rmSync(folder, { recursive: true });

    const { pid } = process;
    expect(entries).to.deep.equal([
      { at: 1, pid, event: 'fault', name: 'first' },
      { at: 2, pid, event: 'fault', name: 'second' },
    ]);
  });
});
