/** Makes a decorator of what wraps a function. */

type AnyFunction = (this: any, ...args: any[]) => any;

/**
 * A decorator for methods, by the standard and by TypeScript's legacy rules.
 * @param of - what it is called, for errors.
 */
export function methodDecorator(
  of: string,
  wrap: (method: AnyFunction) => AnyFunction,
): (method: unknown, name: unknown, descriptor?: PropertyDescriptor) => unknown {
  return function decorate(method, _name, descriptor) {
    const legacy = descriptor !== undefined;
    const decorated = legacy ? descriptor.value : method;
    if (typeof decorated !== 'function') throw new TypeError(`@${of} decorates methods, and this is none`);
    const wrapped = wrap(decorated as AnyFunction);
    return legacy ? { ...descriptor, value: wrapped } : wrapped;
  };
}
