/**
 * Records events of locks where BullMQ's own telemetry goes: on the span of their job, and on the meter of its worker. Names
 * follow those of BullMQ and OpenTelemetry. Durations are in seconds. Keys are on spans only: a metric would have too many.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/general/naming/
 */

import { getOrCreate } from '../core/get-or-create.ts';
import { nameOfHolder } from '../core/holder.ts';
import { shown } from '../core/printable.ts';
import type { LockEvent, LockSubject } from '../events/events.ts';

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

/** What is needed of a span. */
interface Span {
  setAttributes(attributes: Attributes): unknown;
  addEvent(name: string, attributes: Attributes): unknown;
}

/** The key of the span in a context. It is a registered symbol, so all copies of OpenTelemetry's API find it. */
const SPAN = Symbol.for('OpenTelemetry Context Key SPAN');

/** The active span: within a processor it is the job's. */
export function activeSpan({ contextManager }: Telemetry): Span | undefined {
  const context = contextManager?.active() as { getValue?(key: symbol): unknown } | undefined;
  const span = context?.getValue?.(SPAN) as Partial<Span> | undefined;
  return span?.addEvent && span.setAttributes ? (span as Span) : undefined;
}

/** Records an event on a span. The last event's type is also an attribute, by which spans can be searched. */
export function recordOnSpan(span: Span, event: LockEvent): void {
  const details = detailsOf(event);
  span.addEvent(`bullmq.once.${event.type}`, details);
  span.setAttributes({ 'bullmq.once.key': event.key, 'bullmq.once.outcome': event.type, ...fenceOf(event) });
}

function detailsOf(event: LockEvent): Attributes {
  const key = { 'bullmq.once.key': event.key, ...fenceOf(event) };
  switch (event.type) {
    case 'acquired':
      return { ...key, 'bullmq.once.wait.duration': event.waitedFor / 1000 };
    case 'released':
    case 'reserved':
      return { ...key, 'bullmq.once.hold.duration': event.heldFor / 1000 };
    case 'lost':
      return { ...key, 'bullmq.once.reason': event.reason };
    case 'cache-error':
      return {
        ...key,
        'bullmq.once.operation': event.operation,
        'error.type': shown(String(event.error.name)),
      };
    case 'key-error':
      return { ...key, 'error.type': shown(String(event.error.name)) };
    case 'skipped':
    case 'raised':
    case 'delayed':
    case 'parked':
    case 'shared':
    case 'mismatched':
    case 'handled':
      return {
        ...key,
        'bullmq.once.holder': event.holder && nameOfHolder(event.holder),
        'bullmq.once.observed': event.observed,
      };
    default:
      return key;
  }
}

function fenceOf(event: LockEvent): Attributes {
  return 'fence' in event ? { 'bullmq.once.fence': event.fence } : {};
}

/** The metrics of a meter. */
export class Instruments {
  readonly #acquired: Counter;
  readonly #lost: Counter;
  readonly #cacheErrors: Counter;
  readonly #duplicates: Counter;
  readonly #wait: Histogram;
  readonly #hold: Histogram;

  constructor(meter: Meter) {
    this.#acquired = meter.createCounter('bullmq.once.locks.acquired', {
      description: 'Locks that were acquired',
      unit: '{lock}',
    });
    this.#lost = meter.createCounter('bullmq.once.locks.lost', {
      description: 'Locks that were lost before their work had ended',
      unit: '{lock}',
    });
    this.#cacheErrors = meter.createCounter('bullmq.once.cache.errors', {
      description: 'Operations that the cache could not do',
      unit: '{error}',
    });
    this.#duplicates = meter.createCounter('bullmq.once.duplicates', {
      description: 'Jobs that found their key held, by what became of them',
      unit: '{job}',
    });
    this.#wait = meter.createHistogram('bullmq.once.wait.duration', {
      description: 'How long it took to acquire a lock',
      unit: 's',
    });
    this.#hold = meter.createHistogram('bullmq.once.hold.duration', {
      description: 'How long a lock was held',
      unit: 's',
    });
  }

  record(event: LockEvent): void {
    const queue = queueOf(event);
    switch (event.type) {
      case 'acquired':
        this.#acquired.add(1, queue);
        this.#wait.record(event.waitedFor / 1000, queue);
        break;
      case 'released':
      case 'reserved':
        this.#hold.record(event.heldFor / 1000, queue);
        break;
      case 'lost':
        this.#lost.add(1, { ...queue, 'bullmq.once.reason': event.reason });
        break;
      case 'cache-error':
        this.#cacheErrors.add(1, { ...queue, 'bullmq.once.operation': event.operation });
        break;
      case 'skipped':
      case 'raised':
      case 'delayed':
      case 'parked':
      case 'shared':
      case 'mismatched':
      case 'handled':
        this.#duplicates.add(1, {
          ...queue,
          'bullmq.once.outcome': event.type,
          'bullmq.once.observed': event.observed,
        });
        break;
    }
  }
}

function queueOf({ queueName }: LockSubject): Attributes {
  return { 'bullmq.queue.name': queueName };
}

const instruments = new WeakMap<Meter, Instruments>();

/** The metrics of a meter, created once. */
export function instrumentsOf({ meter }: Telemetry): Instruments | undefined {
  return meter && getOrCreate(instruments, meter, () => new Instruments(meter));
}
