import { expect } from 'chai';
import fc from 'fast-check';
import { type JobIdentity, jobOfOwner, newOwner, ownerOfJob } from '../../src/key/owner-id.ts';

/** Characters that mean something in an owner id, or in a pattern that reads one. */
const hostile = fc.string({
  unit: fc.constantFrom(
    ':',
    '%',
    '@',
    '\n',
    '\r',
    '\u2028',
    '3',
    'A',
    '2',
    '5',
    '-',
    '.',
    'e',
    '+',
    'é',
    '😀',
  ),
});
const anyId = fc.oneof(
  hostile,
  fc.string({ unit: 'binary' }),
  fc.constantFrom('%3A', '%253A', '@1', 'a@-5', ''),
);
const prefix = fc.oneof(
  fc.constantFrom('', 'bull:', '{bull}:', 'a:b:c:', '::', 'a@1:', '\n:'),
  hostile.map(text => `${text}:`),
);
/** BullMQ refuses a name that is empty or has a colon. */
const queueName = fc
  .oneof(hostile, fc.string())
  .map(name => name.replaceAll(':', ''))
  .filter(name => name !== '');
const timestamp = fc.oneof(fc.integer({ min: 0, max: 4e12 }), fc.integer());
const job: fc.Arbitrary<JobIdentity & { readonly id: string; readonly queueName: string }> = fc
  .record({ prefix, queueName, id: anyId, timestamp })
  .map(({ prefix, ...others }) => ({ ...others, queueQualifiedName: prefix + others.queueName }));

describe('The owner of a job', () => {
  it('is named by its queue, its id and the time of its creation', () => {
    const owner = ownerOfJob({ queueQualifiedName: 'bull:emails', id: '17', timestamp: 1700000000000 });

    expect(owner).to.equal('bull:emails:17@1700000000000');
  });

  it('names its job again, whatever the id, the prefix and the queue are', () => {
    fc.assert(
      fc.property(job, ({ queueQualifiedName, queueName, id, timestamp }) => {
        const owner = ownerOfJob({ queueQualifiedName, id, timestamp });

        expect(jobOfOwner(owner)).to.deep.equal({ queueQualifiedName, queueName, jobId: id, timestamp });
      }),
      { numRuns: 5000 },
    );
  });

  it('is never the owner of another job', () => {
    fc.assert(
      fc.property(job, job, (one, other) => {
        const isSame =
          one.queueQualifiedName === other.queueQualifiedName &&
          one.id === other.id &&
          one.timestamp === other.timestamp;

        expect(ownerOfJob(one) === ownerOfJob(other)).to.equal(isSame);
      }),
      { numRuns: 5000 },
    );
  });

  it('differs from that of an earlier job with the same id', () => {
    const ownerAt = (timestamp: number) => ownerOfJob({ queueQualifiedName: 'bull:q', id: '1', timestamp });

    expect(ownerAt(1)).not.to.equal(ownerAt(2));
  });

  it('is bounded, whatever the id is, and is still never the owner of another job', () => {
    const owned = (id: string, timestamp = 1) =>
      ownerOfJob({ queueQualifiedName: 'bull:emails', id, timestamp });
    const long = 'x'.repeat(1e6);

    const owners = [
      owned(long),
      owned(`${long}x`),
      owned(long, 2),
      owned(':'.repeat(400)),
      owned('😀'.repeat(400)),
    ];

    for (const owner of owners) {
      expect(owner).to.match(/^bull:emails:.*~[\w-]{43}$/);
      expect(owner.length).to.be.within(511, 512);
      expect(owner.isWellFormed()).to.equal(true);
    }
    expect(new Set(owners).size).to.equal(owners.length);
    expect(owned(long)).to.equal(owned(long));
  });

  it('names no job where it is shortened, rather than a wrong one', () => {
    fc.assert(
      fc.property(job, fc.constantFrom('', '@1', '@', ':', '~'), (one, end) => {
        const owner = ownerOfJob({ ...one, id: `${one.id}${'@1700000000000'.repeat(100)}${end}` });

        expect(jobOfOwner(owner)).to.equal(undefined);
      }),
    );
  });

  it('names a job, which the owner of anything else does not', () => {
    for (const owner of ['importer', '', 'a:b', 'a@1', ':@1', 'host:1:x@', newOwner()]) {
      expect(jobOfOwner(owner), owner).to.equal(undefined);
    }
  });
});

describe('newOwner', () => {
  it('names each acquisition by an owner of its own', () => {
    const owners = Array.from({ length: 1000 }, newOwner);

    expect(new Set(owners).size).to.equal(1000);
  });
});
