/** Decorates methods, by the standard's rules and by TypeScript's legacy ones. */

type AnyFunction = (this: any, ...args: any[]) => any;

/**
 * Makes a decorator of a function that wraps a method.
 * @param of - the decorator's name, for errors.
 */
export function methodDecorator(
  of: string,
  wrap: (method: AnyFunction) => AnyFunction,
): (method: unknown, name: unknown, descriptor?: PropertyDescriptor) => unknown {
  return function decorate(method, _name, descriptor) {
    const isLegacy = descriptor !== undefined;
    const decorated = isLegacy ? descriptor.value : method;
    if (typeof decorated !== 'function') throw new TypeError(`@${of} decorates methods, and this is none`);
    const wrapped = wrap(decorated as AnyFunction);
    return isLegacy ? { ...descriptor, value: wrapped } : wrapped;
  };
}

/** Whether a function is called as a decorator: with a method's context, or with the name of a property and its descriptor. */
export function isDecoratorCall(args: readonly unknown[]): boolean {
  const [, second, third] = args;
  const isStandard = (second as { kind?: unknown } | undefined)?.kind === 'method';
  return isStandard || (typeof third === 'object' && third !== null && 'configurable' in third);
}
