/** docs/options.md says which options there are, which stand beside each other, and what becomes of a duplicate. Each field is tried. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { runJob } from '../../examples/testing/run-job.ts';
import { Lock, type LockCache, MemoryCache, once, onceProcessor } from '../../src/index.ts';
import { deferred, readDoc } from '../support/index.ts';

const work = async () => 'worked';
const FIRST = { key: 'k' };

/** A table of the page, without its head: the texts of its fields. */
function tableUnder(page: string, head: string): { columns: string[]; rows: string[][] } {
  const lines = page.split('\n');
  const start = lines.findIndex(line => line.replaceAll(' ', '').startsWith(head));
  expect(start, `there is a table '${head}'`).to.be.above(-1);
  const end = lines.findIndex((line, i) => i > start && !line.startsWith('|'));
  const fieldsOf = (line: string) =>
    line
      .split('|')
      .slice(1, -1)
      .map(field => field.trim());
  const [columns, , ...rows] = lines.slice(start, end).map(fieldsOf);
  return { columns: columns as string[], rows };
}

/** A form of `whenLocked`, as the page writes it. */
function formOf(field: string): any {
  return new Function(`return (${field.replaceAll('`', '')})`)();
}

/** A cache with what is required, and nothing else. */
function cacheOfFourVerbs(): LockCache {
  const cache = new MemoryCache();
  return {
    acquire: steps => cache.acquire(steps),
    renew: steps => cache.renew(steps),
    release: steps => cache.release(steps),
    inspect: keys => cache.inspect(keys),
  };
}

function isTaken(write: () => unknown): 'yes' | 'no' {
  try {
    write();
    return 'yes';
  } catch (error) {
    expect(error).to.be.an.instanceOf(TypeError);
    return 'no';
  }
}

describe('docs/options.md', () => {
  let page: string;
  before(async () => {
    page = await readDoc('docs/options.md');
  });

  it('lists the options that each function takes', () => {
    const functions: readonly ((options: object) => unknown)[] = [
      options => onceProcessor(work, options),
      options => once(work, { ...FIRST, ...options }),
      options => new Lock('k', options),
    ];
    const { rows } = tableUnder(page, '|option|`onceProcessor`|`once`|');

    for (const [option, ...fields] of rows) {
      // Left out, an option is taken wherever it is known.
      const name = (option as string).replaceAll('`', '');
      const given = name === 'key' ? FIRST : { [name]: undefined };
      expect(fields, option).to.deep.equal(functions.map(write => isTaken(() => write(given))));
    }
    expect(() => onceProcessor(work, { ket: 1 } as object)).to.throw(TypeError, /there are: (.*)/);
    const all = rows.map(([option]) => (option as string).replaceAll('`', ''));
    const described = tableUnder(page, '|option|type|').rows.map(([option]) => option?.replaceAll('`', ''));
    expect(described).to.deep.equal(all);
    expect(all).to.have.members([...namesIn(() => onceProcessor(work, { ket: 1 } as object)), 'owner']);
    expect(all).to.include.members(namesIn(() => new Lock('k', { ket: 1 } as object)));
  });

  it('says what stands beside each form of whenLocked', async () => {
    const { columns, rows } = tableUnder(page, '|`whenLocked`|`raiseIfLock:true`|');
    const beside: Record<string, (whenLocked: any) => unknown> = {
      '`raiseIfLock: true`': whenLocked => onceProcessor(work, { whenLocked, raiseIfLock: true }),
      '`concurrency: 2`': whenLocked => onceProcessor(work, { whenLocked, concurrency: 2 }),
      '`dedupeFor`': whenLocked => onceProcessor(work, { whenLocked, dedupeFor: 1000 }),
      '`holdThroughRetries`': whenLocked => onceProcessor(work, { whenLocked, holdThroughRetries: true }),
      '`match`': whenLocked => onceProcessor(work, { whenLocked, match: 'm' }),
      '`scope`': whenLocked => onceProcessor(work, { whenLocked, scope: 's' }),
      // A job without a queue is a sandboxed one; the next test runs them.
      'in a sandbox': whenLocked => onceProcessor(work, { whenLocked, cache: new MemoryCache() }),
      'a store (a `Map`)': whenLocked => onceProcessor(work, { whenLocked, cache: new Map() }),
      'a cache of the four verbs': whenLocked =>
        onceProcessor(work, { whenLocked, cache: cacheOfFourVerbs() }),
      '`once`': whenLocked => once(work, { ...FIRST, whenLocked }),
    };

    expect(columns.slice(1)).to.deep.equal(Object.keys(beside));
    for (const [form, ...fields] of rows) {
      const tried = Object.values(beside).map(write => isTaken(() => write(formOf(form as string))));
      expect(fields, form).to.deep.equal(tried);
    }
    expect(rows).to.have.length(9);
  });

  it('says what becomes of a duplicate, by what its key is held for', async () => {
    const { columns, rows } = tableUnder(page, '|`whenLocked`|running|');
    const states: Record<string, object> = {
      running: {},
      'done (`dedupeFor`)': { dedupeFor: 300 },
      'reserved (`holdThroughRetries`)': { holdThroughRetries: true },
      'other data (`match`)': { match: '{n}' },
    };

    expect(columns.slice(1)).to.deep.equal(Object.keys(states));
    for (const [form, ...fields] of rows) {
      const found = Object.entries(states).map(([state, options]) =>
        outcomeOf(formOf(form as string), state, options),
      );
      expect(await Promise.all(found), form).to.deep.equal(fields);
    }
    expect(rows).to.have.length(9);
  });
});

/** The options that an error lists. */
function namesIn(write: () => unknown): string[] {
  try {
    write();
  } catch (error) {
    return ((error as Error).message.split('there are: ')[1] as string).split(', ');
  }
  throw new Error('it was not refused');
}

/** What the second job of a key becomes, in the words of the page. A delay of seconds is shortened. */
async function outcomeOf(whenLocked: any, state: string, options: object): Promise<string> {
  const gate = deferred();
  const isReserved = state.startsWith('reserved');
  const guarded = onceProcessor(
    async (job: Job<{ n: number }>) => {
      if (job.data.n === 2) return 'ran';
      if (state === 'running') await gate.promise;
      if (state.startsWith('other')) await gate.promise;
      if (isReserved) throw new Error('it is retried');
      return 'of the first';
    },
    {
      ...{ key: 'k', cache: new MemoryCache(), ttl: 100, ...options },
      whenLocked: typeof whenLocked === 'object' && 'delay' in whenLocked ? { delay: 20 } : whenLocked,
    },
  );
  const opts = { attempts: 2, backoff: 300 };
  const first = runJob(guarded, { n: 1 }, { opts }).catch(() => {});
  if (isReserved || state.startsWith('done')) await first;
  const second = runJob(guarded, { n: 2 }, { opts });
  // It has asked for its key when the first may go on.
  setTimeout(() => gate.resolve(), 50);
  try {
    const result = await second;
    if (result === undefined) return 'completes with no result';
    if (result === 'of the first') return 'completes with the result';
    return result === 'ran' ? 'runs later' : 'is what the function says';
  } catch (error) {
    const { code } = error as { code?: string };
    return code === 'ERR_LOCK_MISMATCH' ? 'fails with `MismatchError`' : 'fails with `LockError`';
  }
}
