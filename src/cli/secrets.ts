/** Keeps passwords out of what is printed. */

import { parseUrl } from './datastore.ts';

const HIDDEN = '***';

/** The URL of a datastore. A key may contain a URL of another kind. */
const DATASTORE_URL = /(rediss?|postgres(ql)?):\/\//i;

/** A shorter password is hidden only where it stands alone: else the gaps in other words would show what it is. */
const MIN_LENGTH_ANYWHERE = 4;

/**
 * Hides the URLs of datastores that a message of the command line itself may quote.
 * @param words - of the command line, and of the environment.
 */
export function withoutUrls(message: string, words: readonly (string | undefined)[]): string {
  return hideAll(message, urlsAmong(words));
}

/** Hides these URLs and the passwords in them. Drivers and servers quote what they do not understand. */
export function withoutSecrets(message: string, words: readonly (string | undefined)[]): string {
  const urls = urlsAmong(words);
  return hideAll(message, [...urls, ...urls.flatMap(passwordsIn)]);
}

function urlsAmong(words: readonly (string | undefined)[]): string[] {
  const urls = words.filter(word => word !== undefined && DATASTORE_URL.test(word)) as string[];
  // An option and its value can be one word.
  return urls.flatMap(word => [word, word.replace(/^-[^=]*=/, '').trim()]);
}

function passwordsIn(url: string): string[] {
  const parsed = parseUrl(url);
  if (!parsed) return [];
  const { password, searchParams } = parsed;
  const inQuery = [...searchParams].filter(([name]) => /pass/i.test(name)).map(([, value]) => value);
  return [password, decode(password), ...inQuery];
}

function decode(password: string): string {
  try {
    return decodeURIComponent(password);
  } catch {
    // It is not encoded: it is as it is.
    return password;
  }
}

/** The longest is hidden first: a shorter one may be a part of it. */
function hideAll(message: string, secrets: readonly string[]): string {
  const ordered = secrets.filter(Boolean).sort((a, b) => b.length - a.length);
  return ordered.reduce(hide, message);
}

function hide(message: string, secret: string): string {
  if (secret.length >= MIN_LENGTH_ANYWHERE) return message.replaceAll(secret, HIDDEN);
  const pattern = secret.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  return message.replace(new RegExp(`(?<![\\p{L}\\p{N}])${pattern}(?![\\p{L}\\p{N}])`, 'gu'), HIDDEN);
}
