/** Which locks a page wants to see. They are searched for at the server: a datastore may have more than a page shows. */

import { LISTED_STATES, type ListedState, type LockInfo } from '../admin/lock-admin.ts';
import { nameOfHolder } from '../core/holder.ts';
import { show } from '../core/validation.ts';
import { RefusedRequest } from './request.ts';

/** In characters. */
export const MAX_TEXT = 512;

/** What is searched for in each source. */
export interface LockSearch {
  /** A part of the key, of the name of the queue or scope, or of the holder, in lower case. Empty: any. */
  readonly text: string;
  /** Absent: any. */
  readonly state?: ListedState | undefined;
}

/** What a page asks for. */
export interface LockQuery {
  readonly search: LockSearch;
  /** The label of the only source that is looked at. Absent: all are. */
  readonly source: string | undefined;
  /** The part of the list, counted from 1. */
  readonly page: number;
}

/** Any lock. */
export const ANY: LockSearch = { text: '' };

/** @throws RefusedRequest a parameter has a wrong value. */
export function parseQuery(given: URLSearchParams, sources: { has(label: string): boolean }): LockQuery {
  const text = given.get('text') ?? '';
  if (text.length > MAX_TEXT) throw refused('text', `at most ${MAX_TEXT} characters`, text);
  const state = given.get('state') || undefined;
  if (state !== undefined && !isState(state)) throw refused('state', LISTED_STATES.join(', '), state);
  const source = given.get('source') || undefined;
  if (source !== undefined && !sources.has(source))
    throw refused('source', 'a queue or cache of this board', source);
  const page = Number(given.get('page') ?? 1);
  if (!Number.isInteger(page) || page < 1)
    throw refused('page', 'a whole number, 1 or more', given.get('page'));
  return { search: { text: text.toLowerCase(), state }, source, page };
}

/** One and the same text for searches that are alike. */
export function nameOfSearch({ text, state }: LockSearch): string {
  return `${state ?? 'any'} ${text}`;
}

export function matches(lock: LockInfo, { text, state }: LockSearch): boolean {
  if (state !== undefined && lock.state !== state) return false;
  return text === '' || textsOf(lock).some(one => one.toLowerCase().includes(text));
}

function textsOf(lock: LockInfo): string[] {
  const { key, queue = '', scope = '', line } = lock;
  return [key, queue, scope, nameOfHolder(lock), line?.next ? nameOfHolder(line.next) : ''];
}

function isState(text: string): text is ListedState {
  return (LISTED_STATES as readonly string[]).includes(text);
}

function refused(parameter: string, wanted: string, value: unknown): RefusedRequest {
  return new RefusedRequest(400, `'${parameter}' must be ${wanted}, not ${show(value)}`);
}
