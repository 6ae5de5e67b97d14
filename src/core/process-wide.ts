/**
 * State of which a process has one. `import` and `require` give one copy of the package, but a process may have others: another version of it, or
 * one that a bundler has put into a program. What must be one for all copies is a property of the global object.
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
