/** Decorates methods, by the standard's rules and by TypeScript's legacy ones. */

type AnyFunction = (this: any, ...args: any[]) => any;

/**
 * The type of a method that may be decorated. Else a string that says why not: the compiler shows it as the type that the method
 * should have.
 * @typeParam KeyErrors - what is wrong with the key; `never` if nothing is.
 */
export type DecoratedMethod<Args extends unknown[], Result, KeyErrors> = [KeyErrors] extends [never]
  ? undefined extends Result
    ? (...args: Args) => Promise<Result>
    : "the method's result must allow for undefined, because a duplicate may have no result"
  : KeyErrors;

/** What the compiler passes to a legacy decorator of a method. */
export interface MethodDescriptor<Method> {
  readonly value?: Method;
}

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
