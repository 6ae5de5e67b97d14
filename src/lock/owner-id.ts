/** Names who a lease is for, where it is for no job: this process, and which of its takings. */

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

const PROCESS = `${hostname()}:${process.pid}:${randomBytes(6).toString('base64url')}`;
let takings = 0;

/** An owner that no other taking has: nobody takes its lease over. */
export function newOwner(): string {
  return `${PROCESS}.${(takings++).toString(36)}`;
}
