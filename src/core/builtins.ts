/**
 * Modules of Node that take long to load: `node:crypto` alone takes as long as all of this package. So they are loaded when they are first
 * used. A client of a datastore has loaded them by then.
 */

export function crypto(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto');
}

export function os(): typeof import('node:os') {
  return process.getBuiltinModule('node:os');
}
