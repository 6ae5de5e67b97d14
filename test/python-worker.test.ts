/** A worker in another language respects the locks of Node workers, and they respect its own: docs/protocol.md, examples/python. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { locksOf, onceProcessor } from '../src/index.ts';
import { lineName } from '../src/key/line-name.ts';
import { queueName, scopedName } from '../src/key/stored-name.ts';
import { Bench } from './support/bullmq.ts';
import { connectRedis, readDoc, redisUrl, uniqueName, until } from './support/index.ts';
import { PythonWorker, runPython } from './support/python.ts';
import { acquire, acquireStep, enterStep, release } from './support/steps.ts';

const TTL_MS = 1000;
const worked = async () => 'worked';

describe('A worker in Python', () => {
  let bench: Bench;
  const workers: PythonWorker[] = [];
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(async () => {
    await Promise.all(workers.splice(0).map(worker => worker.kill()));
    await bench.close();
  });

  function start(seconds: number, ttlMs: number = TTL_MS): PythonWorker {
    const times = ['--seconds', seconds, '--ttl-ms', ttlMs];
    const worker = new PythonWorker(redisUrl(), bench.queueName, 'k', ...times);
    workers.push(worker);
    return worker;
  }

  /** A worker in Python that holds the key until it is killed. */
  async function startHolder(ttlMs?: number): Promise<PythonWorker> {
    const worker = start(600, ttlMs);
    await worker.prints('holds k');
    return worker;
  }

  const runJob = async () => bench.result(await bench.add({}));

  it('holds its key against the jobs of Node workers, for as long as it works', async () => {
    await bench.worker(onceProcessor(worked, { key: 'k' }));
    const python = start(2.5 * (TTL_MS / 1000));
    await python.prints('holds k');

    const results: unknown[] = [];
    while (!python.output.includes('worked')) results.push(await runJob());
    const output = await python.ended();

    // A job may have come when the key was free again.
    const { length } = results.filter(result => result === 'worked');
    expect(results.length).to.be.above(2);
    expect(length).to.be.below(2);
    expect(output).to.match(/^holds k with fence \d{16}\nworked under k\n$/);
    expect(await runJob()).to.equal('worked');
  });

  it('is a holder that operators see, with its owner and its fence', async () => {
    const python = await startHolder(30_000);

    const lock = await locksOf(bench.queue).get('k');

    expect(lock).to.include({ key: 'k', state: 'running', attempt: 0, ttl: 30_000 });
    expect(lock?.owner).to.match(/^python\./);
    expect(python.output).to.equal(`holds k with fence ${lock?.fence}\n`);
  });

  it('is refused while a job of a Node worker holds the key, and is told whose it is', async () => {
    const { job, finish } = await bench.hold();

    const refused = await start(0).ended();
    await finish();
    const granted = await start(0).ended();

    const owner = `bull:${bench.queueName}:${job.id}@${job.timestamp}`;
    expect(refused).to.equal(`refused: ${bench.storedName('k')} is held: it is running for ${owner}\n`);
    expect(granted).to.match(/^holds k.*\nworked under k\n$/);
  });

  it('is refused while the key is held as done', async () => {
    await bench.worker(onceProcessor(worked, { key: 'k', dedupeFor: 60_000 }));
    await runJob();

    expect(await start(0).ended()).to.contain('it is done for bull:');
  });

  it('is refused while jobs are parked for the key', async () => {
    const { cache } = bench;
    const [holder, parked] = ['1', '2'].map(owner =>
      enterStep({ storedKey: bench.storedName('k'), owner, line: 'all' }),
    );
    await cache.enter?.([holder as never, parked as never]);
    expect(await release(cache, holder as never)).to.equal(true);

    expect(await start(0).ended()).to.contain('is held: jobs are parked for it');
  });

  it('is refused while several hold the key', async () => {
    const places = { storedKey: bench.storedName('k'), places: 2 };
    await bench.cache.enter?.(['1', '2'].map(owner => enterStep({ ...places, owner })));

    expect(await start(0).ended()).to.contain('is held: several hold it');
  });

  it('notices that its lease was released by force, and leaves the lock of its successor alone', async () => {
    const python = await startHolder();
    expect(await locksOf(bench.queue).forceRelease('k')).to.equal(true);
    const { job, finish } = await bench.hold();

    await python.prints('lost k');
    await python.ended();

    expect((await bench.holder('k'))?.owner).to.contain(`:${job.id}@`);
    expect(await finish()).to.equal('worked');
  });

  it('notices that it stood still for longer than its lease lasts', async () => {
    const python = await startHolder();
    python.signal('SIGSTOP');
    await until(async () => !(await bench.holder('k')));
    const { job } = await bench.hold();
    python.signal('SIGCONT');

    expect(await python.ended()).to.match(/lost k\n$/);
    expect((await bench.holder('k'))?.owner).to.contain(`:${job.id}@`);
  });

  it('blocks others for its ttl at most when it is killed', async () => {
    await bench.worker(onceProcessor(worked, { key: 'k' }));
    const python = await startHolder(3000);
    await python.kill();

    expect(await runJob()).to.equal(null);
    await until(async () => !(await bench.holder('k')));
    expect(await runJob()).to.equal('worked');
  });

  it('notifies a job that waits for the key of its release', async () => {
    await bench.worker(onceProcessor(worked, { key: 'k', whenLocked: { waitFor: 60_000 } }));
    const redis = connectRedis();
    const subscriber = connectRedis();
    const notified: string[] = [];
    subscriber.on('message', channel => notified.push(channel));
    await subscriber.subscribe(bench.storedName('k'));
    const python = start(1, 30_000);
    await python.prints('holds k');

    const result = runJob();
    await until(async () => (await redis.get(bench.storedName('k')))?.includes('"state":"awaited"'));

    expect(await result).to.equal('worked');
    await until(() => notified.length > 0);
    expect(await python.ended()).to.contain('worked under k');
  });

  it('does not stop jobs that are parked behind it: they run after it, in their order', async () => {
    const ran: unknown[] = [];
    const run = async (job: Job) => void ran.push(job.id);
    await bench.worker(onceProcessor(run, { key: 'k', whenLocked: 'in-order', ttl: TTL_MS }), {
      concurrency: 3,
    });
    // Its lease would last: the jobs run because it is released.
    const python = start(1, 600_000);
    await python.prints('holds k');
    const jobs = [];
    for (let i = 0; i < 3; i++) jobs.push(await bench.add({}));
    for (const job of jobs) await bench.reaches(job, 'delayed');

    expect(await python.ended()).to.contain('worked under k');
    for (const job of jobs) await bench.ended(job);

    expect(ran).to.deep.equal(jobs.map(({ id }) => id));
  });

  it('gets a higher fence than the holder before it', async () => {
    const step = acquireStep({ storedKey: bench.storedName('k') });
    const before = await acquire(bench.cache, step);
    await release(bench.cache, step);

    const [, fence] = /fence (\d+)/.exec(await start(0).ended()) ?? [];

    expect(before).to.have.property('fence').that.is.below(Number(fence));
  });
});

describe('once_lock.py', () => {
  it('releases what it may have acquired when the answer got lost', async () => {
    const name = queueName(`bull:${uniqueName()}`, 'k');
    const program = `
import redis
from once_lock import OnceLock

class LosesAnswers:
    def __init__(self, client):
        self.client = client

    def register_script(self, lua):
        script = self.client.register_script(lua)
        def call(**given):
            answer = script(**given)
            if "TIME" in lua:
                raise redis.ConnectionError(f"lost {client.exists('${name}')}")
            return answer
        return call

client = redis.Redis.from_url("${redisUrl()}")
try:
    OnceLock(LosesAnswers(client), "${name}").acquire()
except redis.ConnectionError as error:
    print(error, client.exists("${name}"))`;

    expect(runPython(program)).to.equal('lost 1 0\n');
  });

  it('names locks and lines as this package does', () => {
    const names = [
      queueName('bull:emails', 'k'),
      queueName('{bull}:emails', 'k:1'),
      queueName('bull:emails', 'a{b}'),
      scopedName('mail', 'k'),
      scopedName('a:b%', '{k}'),
    ];
    const program = `
import json
from once_lock import line_of, name_of_queue_lock as queue, name_of_scope_lock as scope
names = [queue("emails", "k"), queue("emails", "k:1", "{bull}"), queue("emails", "a{b}"), scope("mail", "k"), scope("a:b%", "{k}")]
print(json.dumps([names, [line_of(name) for name in names]]))`;

    expect(JSON.parse(runPython(program))).to.deep.equal([names, names.map(lineName)]);
  });

  it('has the scripts that docs/protocol.md shows', async () => {
    const shown = [...(await readDoc('docs/protocol.md')).matchAll(/^```lua\n([\s\S]*?)^```/gm)];
    const source = await readDoc('examples/python/once_lock.py');

    expect(shown).to.have.length(3);
    for (const [, script] of shown) expect(source).to.include(script as string);
  });
});
