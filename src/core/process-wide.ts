/**
 * State of which a process has one. The package is built as ESM and as CommonJS, so two copies of it may live in one process:
 * what must be one for both hangs on the global object.
 */

const GLOBAL = Symbol.for('bullmq-once');

/** The state of that name; `create` makes it when it is first asked for. */
export function processWide<State>(name: string, create: () => State): State {
  const global = globalThis as { [GLOBAL]?: Record<string, unknown> };
  global[GLOBAL] ??= {};
  const states = global[GLOBAL];
  states[name] ??= create();
  return states[name] as State;
}
