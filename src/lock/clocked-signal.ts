/**
 * A signal that tells the truth when it is asked. A timer can't abort a signal while the event loop is blocked or the process is
 * suspended, so the first line that runs after that would still see it as not aborted.
 */

/**
 * Makes the controller of such a signal.
 * @param look - called before the signal answers. It aborts the controller where that is due.
 */
export function clockedController(look: () => void): AbortController {
  const controller = new AbortController();
  const { signal } = controller;
  Object.defineProperties(signal, {
    aborted: { configurable: true, get: () => ask(look, signal, ABORTED) },
    reason: { configurable: true, get: () => ask(look, signal, REASON) },
    throwIfAborted: {
      configurable: true,
      value: () => {
        if (signal.aborted) throw signal.reason;
      },
    },
  });
  return controller;
}

const ABORTED = getterOf('aborted');
const REASON = getterOf('reason');

function ask(look: () => void, signal: AbortSignal, getter: (this: AbortSignal) => any): any {
  look();
  return getter.call(signal);
}

function getterOf(property: 'aborted' | 'reason'): (this: AbortSignal) => any {
  return Object.getOwnPropertyDescriptor(AbortSignal.prototype, property)?.get as () => any;
}
