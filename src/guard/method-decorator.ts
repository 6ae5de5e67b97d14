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
  return function decorate(method, context, descriptor) {
    const isLegacy = descriptor !== undefined;
    const decorated = isLegacy ? descriptor.value : method;
    if (typeof decorated !== 'function' || !isOfMethod(context)) {
      throw new TypeError(`@${of} decorates methods, and this is none`);
    }
    const wrapped = wrap(decorated as AnyFunction);
    return isLegacy ? { ...descriptor, value: wrapped } : wrapped;
  };
}

/** A standard decorator gets a context, a legacy one the method's name. A legacy decorator of a class gets neither. */
function isOfMethod(context: unknown): boolean {
  if (typeof context === 'string' || typeof context === 'symbol') return true;
  return (context as { kind?: unknown } | undefined)?.kind === 'method';
}

/** Whether a function is called as a decorator, and not with a job. */
export function isDecoratorCall(args: readonly unknown[]): boolean {
  const [, second, third] = args;
  const isStandard = typeof (second as { kind?: unknown } | undefined)?.kind === 'string';
  return isStandard || (typeof third === 'object' && third !== null && 'configurable' in third);
}

/** A generator returns before its body has begun: its lock would be released at once, and guard nothing. */
export function refuseGenerator(of: string, fn: AnyFunction): void {
  if (!/^\[object (?:Async)?GeneratorFunction\]$/.test(Object.prototype.toString.call(fn))) return;
  throw new TypeError(
    `${of}: '${fn.name || 'the function'}' is a generator, whose body runs after it has returned; guard the function that ` +
      'iterates over it',
  );
}
