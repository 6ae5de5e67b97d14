/**
 * Writes strings that others chose for people: ids, names and keys, and what was thrown. A producer chooses the ids, the names and
 * the data of jobs; a message may go into a record of another job, and to a terminal.
 */

/** A message shows no more of a string. */
const MAX_SHOWN_LENGTH = 512;
/** A message shows no more names of a list. */
const MAX_LISTED = 20;
/** A message shows no more of a name in a list. */
const MAX_LISTED_LENGTH = 100;

/**
 * What a terminal would obey or not show, and what would begin a new line of a log: control characters, marks that change the
 * direction of writing and other characters without a shape, line separators, characters for private use, and lone surrogates. Not
 * the joiners U+200C and U+200D: scripts and emoji need them.
 */
const UNPRINTABLE = /[\p{Cc}\p{Co}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu;

const SHORT_ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Escapes what is unprintable, as JSON does: `\n`, `\u001b`. Within the strings of JSON it means the same. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escapeChar);
}

/** A string as messages show it: printable, and no longer than `max`, beyond which an ellipsis stands. */
export function shown(text: string, max: number = MAX_SHOWN_LENGTH): string {
  return printable(text.length <= max ? text : `${beginningOf(text, max)}…`);
}

/** The first names of a list as messages show them, and how many more there are: `a, b … and 59 980 more`. */
export function listed(names: readonly string[]): string {
  const list = names
    .slice(0, MAX_LISTED)
    .map(name => shown(name, MAX_LISTED_LENGTH))
    .join(', ');
  const more = names.length - MAX_LISTED;
  return more > 0 ? `${list} … and ${withSpaces(more)} more` : list;
}

/** The first names of a list, as a program may keep them: as they are, but none longer than a message shows it. */
export function firstOf(names: readonly string[]): string[] {
  return names.slice(0, MAX_LISTED).map(name => beginningOf(name, MAX_LISTED_LENGTH));
}

/** The first characters of a string, one less where a surrogate pair would be cut in half. */
export function beginningOf(text: string, length: number): string {
  const cut = text.slice(0, length);
  return cut.isWellFormed() ? cut : text.slice(0, length - 1);
}

function escapeChar(char: string): string {
  return SHORT_ESCAPES[char] ?? Array.from({ length: char.length }, (_, i) => escapeUnit(char, i)).join('');
}

function escapeUnit(char: string, i: number): string {
  return `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`;
}

/** `59 980` */
function withSpaces(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ' ');
}
