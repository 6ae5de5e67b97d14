/** Emits events: on the diagnostics channels `bullmq-once:<type>`, and to a callback `onEvent`. */

import { type Channel, channel } from 'node:diagnostics_channel';
import { describeThrown } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';
import { EVENT_TYPES, type LockEvent, type LockEventType } from './events.ts';

/** Called with every event. What it throws or rejects with becomes a warning, and harms nothing. */
export type OnEvent = (event: LockEvent) => unknown;

const CHANNELS = Object.fromEntries(EVENT_TYPES.map(type => [type, channel(channelOf(type))])) as Readonly<
  Record<LockEventType, Channel>
>;

/** The name of the diagnostics channel of a type. */
export function channelOf(type: LockEventType): string {
  return `bullmq-once:${type}`;
}

/** Emits events to those who listen. Ask {@link isObserved} before you build an event. */
export class Emitter {
  readonly #onEvent: OnEvent | undefined;

  constructor(onEvent?: OnEvent) {
    this.#onEvent = onEvent;
  }

  /** Whether anyone listens to events of this type. */
  isObserved(type: LockEventType): boolean {
    return this.#onEvent !== undefined || CHANNELS[type].hasSubscribers;
  }

  emit(event: LockEvent): void {
    const channel = CHANNELS[event.type];
    if (channel.hasSubscribers) channel.publish(event);
    if (this.#onEvent) callSafely(this.#onEvent, event);
  }
}

function callSafely(onEvent: OnEvent, event: LockEvent): void {
  const report = (error: unknown) =>
    warn('ONCE_ON_EVENT', `an onEvent callback failed on '${event.type}': ${describeThrown(error)}`);
  try {
    const result = onEvent(event) as PromiseLike<unknown> | undefined;
    // Not `instanceof`: a promise of another realm that nobody handles would end the process.
    if (typeof result?.then === 'function') Promise.resolve(result).catch(report);
  } catch (error) {
    report(error);
  }
}
