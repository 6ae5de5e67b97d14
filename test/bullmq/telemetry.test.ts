/** Events where BullMQ's own telemetry goes: on the span of their job, and on the meter of its worker. */

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
import sinon from 'sinon';
import { MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, plainJob } from '../support/bullmq.ts';
import { failingCache } from '../support/failing-cache.ts';
import { deferred, rejection, uniqueName, until } from '../support/index.ts';

describe('Telemetry', () => {
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

  /** A metric as it is now. */
  const metricNamed = async (name: string) => {
    await reader.forceFlush();
    const all = exporter
      .getMetrics()
      .at(-1)
      ?.scopeMetrics.flatMap(({ metrics }) => metrics);
    return all?.find(({ descriptor }) => descriptor.name === name);
  };
  /** The values of a metric for one queue, with its other attributes. */
  const pointsOf = async (name: string, queueName: string) => {
    const points = (await metricNamed(name))?.dataPoints ?? [];
    return points
      .map(({ value, attributes: { 'bullmq.queue.name': queue, ...others } }) => ({ value, queue, others }))
      .filter(({ queue }) => queue === queueName)
      .map(({ value, others }) => ({ value, ...others }));
  };
  const spanOf = (job: Job) =>
    spans
      .getFinishedSpans()
      .find(({ name, attributes }) => name.startsWith('process') && attributes['bullmq.job.id'] === job.id);

  describe('of a worker', () => {
    let bench: Bench;
    let ran: Job;
    let skipped: Job;
    before(async () => {
      bench = await Bench.open();
      const holding = await bench.hold({}, { telemetry });
      ran = holding.job;
      skipped = await bench.add({});
      await bench.result(skipped);
      await holding.finish();
      await until(() => spanOf(ran) && spanOf(skipped));
    });
    after(() => bench.close());

    it('is on the span of a job that ran: its key, its fence and its events', () => {
      const span = spanOf(ran);

      expect(span?.attributes).to.include({ 'bullmq.once.key': 'k' });
      expect(span?.attributes['bullmq.once.fence']).to.be.above(1e15);
      expect(span?.events.map(({ name }) => name)).to.include('bullmq.once.acquired');
    });

    it('is on the span of a duplicate: its outcome, and who holds the key', () => {
      const span = spanOf(skipped);

      expect(span?.attributes).to.include({ 'bullmq.once.key': 'k', 'bullmq.once.outcome': 'skipped' });
      const event = span?.events.find(({ name }) => name === 'bullmq.once.skipped');
      expect(event?.attributes).to.include({
        'bullmq.once.holder': `job ${ran.id} of ${bench.queueName}`,
        'bullmq.once.observed': false,
      });
    });

    it('counts locks that were acquired', async () => {
      expect(await pointsOf('bullmq.once.locks.acquired', bench.queueName)).to.deep.equal([{ value: 1 }]);
    });

    it('counts duplicates by their outcome', async () => {
      expect(await pointsOf('bullmq.once.duplicates', bench.queueName)).to.deep.equal([
        { value: 1, 'bullmq.once.outcome': 'skipped', 'bullmq.once.observed': false },
      ]);
    });

    it('measures in seconds how long it took to acquire a lock, and how long it was held', async () => {
      for (const name of ['bullmq.once.wait.duration', 'bullmq.once.hold.duration']) {
        expect((await metricNamed(name))?.descriptor.unit, name).to.equal('s');
        const [point] = await pointsOf(name, bench.queueName);
        expect(point?.value, name).to.include({ count: 1 });
      }
    });

    it('has no metric with a key, of which there would be too many', async () => {
      await reader.forceFlush();

      expect(JSON.stringify(exporter.getMetrics())).not.to.include('bullmq.once.key');
    });
  });

  describe('of a job', () => {
    let queueName: string;
    beforeEach(() => {
      queueName = uniqueName('queue');
    });

    const jobWith = (fields: object = {}) =>
      plainJob('1', {
        queueName,
        queueQualifiedName: `bull:${queueName}`,
        queue: { opts: { telemetry } },
        ...fields,
      });
    it("counts a duplicate that the function 'whenLocked' handles", async () => {
      const gate = deferred();
      const options = { key: 'k', cache: new MemoryCache(), whenLocked: () => 'handled' };
      const processor = onceProcessor(async () => {
        await gate.promise;
        return 'ran';
      }, options);
      const first = processor(jobWith());

      const result = await processor(jobWith({ id: '2' }));
      gate.resolve();
      await first;

      expect(result).to.equal('handled');
      expect(await pointsOf('bullmq.once.duplicates', queueName)).to.deep.equal([
        { value: 1, 'bullmq.once.outcome': 'handled', 'bullmq.once.observed': false },
      ]);
    });

    it('counts an acquisition that the cache could not do', async () => {
      const processor = onceProcessor(() => 'ran', { key: 'k', cache: failingCache('acquire') });

      expect(await rejection(processor(jobWith()))).to.include({ code: 'ERR_LOCK_CACHE' });

      expect(await pointsOf('bullmq.once.cache.errors', queueName)).to.deep.equal([
        { value: 1, 'bullmq.once.operation': 'acquire' },
      ]);
      expect(await pointsOf('bullmq.once.locks.acquired', queueName)).to.deep.equal([]);
    });

    it('counts a release that the cache could not do', async () => {
      const processor = onceProcessor(() => 'ran', { key: 'k', ttl: 100, cache: failingCache('release') });

      expect(await processor(jobWith())).to.equal('ran');

      const [errors, ...others] = await pointsOf('bullmq.once.cache.errors', queueName);
      expect(errors).to.include({ 'bullmq.once.operation': 'release' });
      expect(errors?.value).to.be.at.least(1);
      expect(others).to.deep.equal([]);
    });

    it('counts a lost lock by the reason', async () => {
      const cache = new MemoryCache();
      const options = { key: 'k', cache, ttl: 100, maxHold: 30 };
      const processor = onceProcessor(
        async (_job: Job, _token, _signal, lock) => until(() => lock.signal.aborted),
        options,
      );

      await processor(jobWith());

      expect(await pointsOf('bullmq.once.locks.lost', queueName)).to.deep.equal([
        { value: 1, 'bullmq.once.reason': 'max-hold-exceeded' },
      ]);
    });

    describe('that fails', () => {
      const warnings: string[] = [];
      const record = (warning: Error) => void warnings.push(warning.message);
      let minutes = 0;
      beforeEach(() => {
        warnings.length = 0;
        process.on('warning', record);
        // There is at most one such warning a minute.
        const start = performance.now();
        sinon.useFakeTimers({ toFake: ['performance'] }).tick(start + 120_000 * ++minutes);
      });
      afterEach(() => {
        sinon.restore();
        process.off('warning', record);
      });

      const thrown: Record<string, readonly [value: unknown, described: string]> = {
        'an Error': [new Error('no meter'), 'Error: no meter'],
        'a value that has no string form': [Object.create(null), 'a value that has no string form'],
      };
      for (const [what, [value, described]] of Object.entries(thrown)) {
        it(`harms no job, and becomes a warning (the meter throws ${what})`, async () => {
          const meter = {
            createCounter: () => ({
              add() {
                throw value;
              },
            }),
            createHistogram: () => ({ record() {} }),
            createGauge: () => ({ record() {} }),
          };
          const { tracer, contextManager } = telemetry;
          const processor = onceProcessor(() => 'ran', { key: 'k', cache: new MemoryCache() });

          // BullMQ's own metrics would fail with such a meter: the guard is called as its worker would call it.
          const job = jobWith({ queue: { opts: { telemetry: { tracer, contextManager, meter } } } });
          const result = await processor(job);
          await new Promise(setImmediate);

          expect(result).to.equal('ran');
          expect(warnings).to.deep.equal([`telemetry failed on 'acquired': ${described}`]);
        });

        it(`harms no job, and becomes a warning (the meter has no counters, and throws ${what})`, async () => {
          const fail = () => {
            throw value;
          };
          const processor = onceProcessor(() => 'ran', { key: 'k', cache: new MemoryCache() });

          const job = jobWith({
            queue: {
              opts: { telemetry: { contextManager: { active: fail }, meter: { createCounter: fail } } },
            },
          });
          const result = await processor(job);
          await new Promise(setImmediate);

          expect(result).to.equal('ran');
          expect(warnings).to.deep.equal([`telemetry can't be used: ${described}`]);
        });
      }
    });
  });
});
