/** What errors, warnings and descriptions say of strings that others chose: it is one line, and not too long. */

import { expect } from 'chai';
import { describeHolder, type Holder, nameOfHolder } from '../../src/core/holder.ts';
import { show, showClass } from '../../src/core/validation.ts';
import { warn } from '../../src/core/warnings.ts';
import {
  CacheError,
  caches,
  KeyError,
  Lock,
  LockError,
  LockLostError,
  onceProcessor,
} from '../../src/index.ts';
import { rejection } from '../support/index.ts';

const HOSTILE = 'a\n\u001b[2J\u202e';
const SHOWN = 'a\\n\\u001b[2J\\u202e';
const LONG = 'x'.repeat(1e6);

const holderNamed = (name: string): Holder => ({
  key: name,
  storedKey: `once::1:default:${name}`,
  state: 'running',
  owner: name,
  fence: 1,
  attempt: 1,
  since: 1,
  expiresIn: 12_000,
  ttl: 30_000,
  jobId: name,
  queueName: name,
});

const errors: Record<string, (name: string) => Error> = {
  LockError: name => new LockError(name, holderNamed(name)),
  LockLostError: name => new LockLostError(name, 'expired'),
  CacheError: name => new CacheError(name, name),
};

describe('The message of an error of a lock', () => {
  for (const [name, create] of Object.entries(errors)) {
    it(`escapes what it quotes (${name})`, () => {
      expect(create(HOSTILE).message)
        .to.include(`'${SHOWN}'`)
        .and.not.match(/[\n\p{Cc}\p{Cf}]/u);
    });

    it(`is bounded (${name})`, () => {
      expect(create(LONG).message.length).to.be.below(2500);
    });
  }

  it('leaves the fields as they are', () => {
    const error = new LockError(HOSTILE, holderNamed(HOSTILE));

    expect(error).to.include({ key: HOSTILE });
    expect(error.holder).to.include({ jobId: HOSTILE, owner: HOSTILE });
  });
});

describe('The fields that a KeyError names', () => {
  it('are the first twenty, and of a long name its beginning', () => {
    const fields = [LONG, ...Array.from({ length: 60_000 }, (_, i) => `f${i}`)];

    const error = new KeyError('no key', { fields });

    expect(error.fields).to.have.length(20);
    expect(error.fields.slice(0, 2)).to.deep.equal(['x'.repeat(100), 'f0']);
  });
});

describe('The name of a holder', () => {
  it('is printable, and bounded', () => {
    const { jobId: _, ...owned } = holderNamed(HOSTILE);

    expect(nameOfHolder(holderNamed(HOSTILE))).to.equal(`job ${SHOWN} of ${SHOWN}`);
    expect(nameOfHolder(owned)).to.equal(SHOWN);
    expect(describeHolder(holderNamed(LONG)).length).to.be.below(1200);
  });
});

describe('A wrong value in an error', () => {
  it('is printable, and bounded', () => {
    expect(show(HOSTILE)).to.equal(`'${SHOWN}'`);
    for (const value of [LONG, Symbol(LONG), { [LONG]: 1 }]) expect(show(value).length).to.be.below(600);
    expect(showClass({ constructor: { name: LONG } }).length).to.be.below(600);
  });

  it('may be the name of an option', () => {
    for (const options of [{ [HOSTILE]: 1 }, { whenLocked: { waitFor: 1, [HOSTILE]: 1 } }]) {
      expect(() => onceProcessor(async () => {}, options as never)).to.throw(TypeError, SHOWN);
    }
  });

  it('may be the name of a cache, beside the names that there are', async () => {
    const names = Array.from({ length: 25 }, (_, i) => `named-${i}`);
    for (const name of names) caches.set(name, new Map());

    const error = await rejection(new Lock('k', { cache: HOSTILE }).acquire());
    for (const name of names) caches.delete(name);

    expect(error.message)
      .to.include(`no cache is named '${SHOWN}'`)
      .and.match(/ … and \d+ more\)/);
  });
});

describe('A warning', () => {
  it('is one line, and bounded', async () => {
    const warned = new Promise<Error & { detail?: string }>(resolve => process.once('warning', resolve));

    warn('ONCE_TEST', HOSTILE + LONG, HOSTILE + LONG);

    const { message, detail = '' } = await warned;
    for (const text of [message, detail]) {
      expect(text.startsWith(SHOWN)).to.equal(true);
      expect(text.length).to.be.below(2200);
    }
  });
});
