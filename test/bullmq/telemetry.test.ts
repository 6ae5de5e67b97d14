/** What locks tell in BullMQ's own places: a job's log, its span, its worker's meter. */

import { context, metrics, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import type { Job, WorkerOptions } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { expect } from 'chai';
import { MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, setups } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

for (const setup of oneOfEachKind) {
  describe(`the log of a duplicate, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    for (const [whenLocked, line] of [
      ['skip', /^skipped: 'k' is held by job 1 of queue-[\w-]+ for another \d+ s$/],
      ['raise', /^failed: 'k' is held by job 1 of/],
      [{ retryIn: 100 }, /^put off: 'k' is held by job 1 of/],
      ['keep-last', /^waits as the newest: 'k' is held by job 1 of/],
    ] as const) {
      it(`says what became of it, and why: ${JSON.stringify(whenLocked)}`, async () => {
        const gate = deferred();
        const started = deferred();
        const processor = onceProcessor(
          async () => {
            started.resolve();
            await gate.promise;
          },
          { key: 'k', whenLocked, log: true },
        );
        await bench.worker(processor, { concurrency: 2 });
        const first = await bench.add({});
        await started.promise;
        const second = await bench.add({});
        const logs = async (job: Job) => (await bench.queue.getJobLogs(job.id as string)).logs;
        await until(async () => (await logs(second)).length > 0);
        gate.resolve();
        await bench.ended(first);
        await bench.ended(second);

        expect((await logs(second))[0]).to.match(line);
        expect(await logs(first)).to.deep.equal([]);
      });
    }

    it('says what was done, under keepFor', async () => {
      await bench.worker(onceProcessor(async () => 'ran', { key: 'k', keepFor: 60_000, log: true }));
      await bench.ended(await bench.add({}));
      const second = await bench.add({});
      await bench.ended(second);

      const { logs } = await bench.queue.getJobLogs(second.id as string);
      expect(logs[0]).to.match(
        /^skipped: 'k' was done by job 1 of queue-\S+ and is kept for another (59|60) s$/,
      );
    });
  });
}

describe('telemetry', () => {
  const spans = new InMemorySpanExporter();
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  let telemetry: NonNullable<WorkerOptions['telemetry']>;
  before(() => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    trace.setGlobalTracerProvider(tracers);
    metrics.setGlobalMeterProvider(meters);
    telemetry = new BullMQOtel({
      tracerName: 'test',
      meterName: 'test',
      enableMetrics: true,
    } as never) as never;
  });
  after(async () => {
    await meters.shutdown();
    await tracers.shutdown();
    for (const api of [context, trace, metrics]) api.disable();
  });

  it("is on the job's own span, and on the worker's meter", async () => {
    const bench = await Bench.open(setups[0]);
    const gate = deferred();
    const started = deferred();
    const processor = onceProcessor(
      async () => {
        started.resolve();
        await gate.promise;
      },
      { key: 'k' },
    );
    await bench.worker(processor, { concurrency: 2, telemetry });
    const first = await bench.add({});
    await started.promise;
    const second = await bench.add({});
    await bench.result(second);
    gate.resolve();
    await bench.result(first);
    const ofJob = (job: Job) =>
      spans
        .getFinishedSpans()
        .find(({ name, attributes }) => name.startsWith('process') && attributes['bullmq.job.id'] === job.id);
    await until(() => ofJob(first) && ofJob(second));
    await reader.forceFlush();

    const [ran, skipped] = [ofJob(first), ofJob(second)];
    expect(ran?.events.map(({ name }) => name)).to.include('bullmq.once.acquired');
    expect(ran?.attributes).to.include({ 'bullmq.once.key': 'k' });
    expect(ran?.attributes['bullmq.once.fence']).to.be.above(1e15);
    expect(skipped?.attributes).to.include({ 'bullmq.once.key': 'k', 'bullmq.once.outcome': 'skipped' });
    const event = skipped?.events.find(({ name }) => name === 'bullmq.once.skipped');
    expect(event?.attributes?.['bullmq.once.holder']).to.match(new RegExp(`:${first.id}@`));

    const found = exporter
      .getMetrics()
      .at(-1)
      ?.scopeMetrics.flatMap(({ metrics }) => metrics);
    const pointsOf = (name: string) => found?.find(({ descriptor }) => descriptor.name === name);
    const queue = { 'bullmq.queue.name': bench.queueName };
    expect(pointsOf('bullmq.once.locks.taken')?.dataPoints[0]).to.deep.include({
      value: 1,
      attributes: queue,
    });
    expect(pointsOf('bullmq.once.duplicates')?.dataPoints[0]).to.deep.include({
      value: 1,
      attributes: { ...queue, 'bullmq.once.outcome': 'skipped', 'bullmq.once.observed': false },
    });
    const hold = pointsOf('bullmq.once.hold.duration');
    expect(hold?.descriptor.unit).to.equal('s');
    expect(hold?.dataPoints[0]?.value).to.include({ count: 1 });
    expect(JSON.stringify(found)).not.to.include('bullmq.once.key');
    await bench.close();
  });

  it('that fails harms no job', async () => {
    const broken = {
      ...{ tracer: telemetry.tracer, contextManager: telemetry.contextManager },
      meter: {
        createCounter: () => ({
          add() {
            throw new Error('no meter');
          },
        }),
        createHistogram: () => ({ record() {} }),
        createGauge: () => ({ record() {} }),
      },
    };
    const hides = (error: Error) => error.message.includes('telemetry failed');
    const warnings: Error[] = [];
    const hear = (warning: Error) => warnings.push(warning);
    process.on('warning', hear);
    const processor = onceProcessor(async () => 'ran', { key: 'k', cache: new MemoryCache() });
    // BullMQ's own metrics would fail with it: the guard is called as its worker would call it.
    const job = {
      ...{ id: '1', name: 'job', data: {}, timestamp: 1, queueName: 'q', queueQualifiedName: 'bull:q' },
      queue: { opts: { telemetry: broken } },
    };

    const result = await processor(job as never);
    await until(() => warnings.some(hides));
    process.off('warning', hear);

    expect(result).to.equal('ran');
  });
});
