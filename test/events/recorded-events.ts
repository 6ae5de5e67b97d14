/** Records what is published on the diagnostics channels. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { LockEvent } from '../../src/index.ts';

const TYPES: readonly LockEvent['type'][] = [
  ...(['acquired', 'reclaimed', 'renewed', 'lost', 'released'] as const),
  ...(['skipped', 'raised', 'delayed', 'parked', 'shared', 'mismatched', 'handled'] as const),
  ...(['cache-error', 'key-error'] as const),
];

export interface RecordedEvents {
  readonly events: readonly LockEvent[];
  /** The types of the events, in order. */
  types(): string[];
  ofType<Type extends LockEvent['type']>(type: Type): Extract<LockEvent, { readonly type: Type }>[];
  stop(): void;
}

/**
 * Subscribes to all channels until it is stopped. Locks of other tests may still be renewed, so it records only the events of
 * one key, and those without a key.
 */
export function recordEvents(key: string): RecordedEvents {
  const events: LockEvent[] = [];
  const record = (message: unknown) => {
    const event = message as LockEvent;
    if (event.key === key || event.key === '') events.push(event);
  };
  for (const type of TYPES) subscribe(`bullmq-once:${type}`, record);
  return {
    events,
    types: () => events.map(({ type }) => type),
    ofType: type => events.filter(event => event.type === type) as never,
    stop() {
      for (const type of TYPES) unsubscribe(`bullmq-once:${type}`, record);
    },
  };
}
