/**
 * How a lock is stored on Redis: as a string of JSON that can be read in redis-cli. Its fields stand in a fixed order, so that "is it this
 * lease's?" is a comparison of strings. The state of a lease is "running", or "awaited" as soon as someone who wants to be notified
 * of its release found it held: a word of the same length. Any other value is foreign, and counts as held.
 */

/** How every record begins. */
export const LOCK = '{"once":1,';
/** How the record of a lease begins. Its token follows. */
export const RUNNING = '{"once":1,"state":"running","token":';
/** How the record of work that was done begins. Its token follows. */
export const DONE = '{"once":1,"state":"done","token":';
/** Where the token of a lease stands. Counted as Lua does, from 1. */
export const TOKEN_AT: number = RUNNING.length + 1;
export const STATE_AT: number = RUNNING.indexOf('running') + 1;
