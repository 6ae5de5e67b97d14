/**
 * Puts events of locks where BullMQ's own telemetry goes: on the span of their job, and on the meter of its worker. Names follow
 * those of BullMQ and OpenTelemetry: durations are in seconds, and a key is on spans only, as there are too many for a metric.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/general/naming/
 */

import type { AboutLock, LockEvent } from '../events/events.ts';

/** BullMQ's option `telemetry`, as bullmq-otel makes it. */
export interface Telemetry {
  readonly contextManager?: { active(): unknown };
  readonly meter?: Meter;
}

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

interface Meter {
  createCounter(name: string, options: { description: string; unit: string }): Counter;
  createHistogram(name: string, options: { description: string; unit: string }): Histogram;
}
interface Counter {
  add(value: number, attributes: Attributes): void;
}
interface Histogram {
  record(value: number, attributes: Attributes): void;
}

/** What is asked of a span. */
interface Span {
  setAttributes(attributes: Attributes): unknown;
  addEvent(name: string, attributes: Attributes): unknown;
}

/** The key of the span in a context. It is registered by its text, so that all copies of OpenTelemetry's API find it. */
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');

/** The span that is active: within a processor it is its job's. */
export function activeSpan({ contextManager }: Telemetry): Span | undefined {
  const context = contextManager?.active() as { getValue?(key: symbol): unknown } | undefined;
  const span = context?.getValue?.(SPAN) as Partial<Span> | undefined;
  return span?.addEvent && span.setAttributes ? (span as Span) : undefined;
}

/** Writes an event on a span. Its last word is also an attribute, by which spans can be searched. */
export function tellSpan(span: Span, event: LockEvent): void {
  const details = detailsOf(event);
  span.addEvent(`bullmq.once.${event.type}`, details);
  span.setAttributes({ 'bullmq.once.key': event.key, 'bullmq.once.outcome': event.type, ...fenceOf(event) });
}

function detailsOf(event: LockEvent): Attributes {
  const key = { 'bullmq.once.key': event.key, ...fenceOf(event) };
  switch (event.type) {
    case 'acquired':
      return { ...key, 'bullmq.once.wait.duration': event.waited / 1000 };
    case 'released':
      return { ...key, 'bullmq.once.hold.duration': event.held / 1000 };
    case 'lost':
      return { ...key, 'bullmq.once.reason': event.why };
    case 'failed':
      return { ...key, 'bullmq.once.step': event.step, 'error.type': event.error.name };
    case 'skipped':
    case 'raised':
    case 'retried':
    case 'kept':
      return { ...key, 'bullmq.once.holder': event.holder?.owner, 'bullmq.once.observed': event.observed };
    default:
      return key;
  }
}

function fenceOf(event: LockEvent): Attributes {
  return 'fence' in event ? { 'bullmq.once.fence': event.fence } : {};
}

/** What is counted and measured. */
export class Instruments {
  readonly #taken: Counter;
  readonly #lost: Counter;
  readonly #failures: Counter;
  readonly #duplicates: Counter;
  readonly #wait: Histogram;
  readonly #hold: Histogram;

  constructor(meter: Meter) {
    this.#taken = meter.createCounter('bullmq.once.locks.taken', {
      description: 'Locks that were taken',
      unit: '{lock}',
    });
    this.#lost = meter.createCounter('bullmq.once.locks.lost', {
      description: 'Locks that were lost before their work had ended',
      unit: '{lock}',
    });
    this.#failures = meter.createCounter('bullmq.once.failures', {
      description: 'Steps of locks that their cache could not do',
      unit: '{failure}',
    });
    this.#duplicates = meter.createCounter('bullmq.once.duplicates', {
      description: 'Jobs that found their key held, by what became of them',
      unit: '{job}',
    });
    this.#wait = meter.createHistogram('bullmq.once.wait.duration', {
      description: 'How long it took to take a lock',
      unit: 's',
    });
    this.#hold = meter.createHistogram('bullmq.once.hold.duration', {
      description: 'How long a lock was held',
      unit: 's',
    });
  }

  tell(event: LockEvent): void {
    const queue = queueOf(event);
    switch (event.type) {
      case 'acquired':
        this.#taken.add(1, queue);
        this.#wait.record(event.waited / 1000, queue);
        break;
      case 'released':
        this.#hold.record(event.held / 1000, queue);
        break;
      case 'lost':
        this.#lost.add(1, { ...queue, 'bullmq.once.reason': event.why });
        break;
      case 'failed':
        this.#failures.add(1, { ...queue, 'bullmq.once.step': event.step });
        break;
      case 'skipped':
      case 'raised':
      case 'retried':
      case 'kept':
        this.#duplicates.add(1, {
          ...queue,
          'bullmq.once.outcome': event.type,
          'bullmq.once.observed': event.observed,
        });
        break;
    }
  }
}

function queueOf({ queueName }: AboutLock): Attributes {
  return { 'bullmq.queue.name': queueName };
}

const instruments = new WeakMap<Meter, Instruments>();

/** The instruments of a meter, made once. */
export function instrumentsOf({ meter }: Telemetry): Instruments | undefined {
  if (!meter) return undefined;
  const made = instruments.get(meter) ?? new Instruments(meter);
  instruments.set(meter, made);
  return made;
}
