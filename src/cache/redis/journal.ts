/**
 * The journal of a queue in Redis: a hash of counts for each hour, whose fields are `<minute> <outcome>`, and a list of the last duplicates,
 * the last first. Each duplicate is a string of JSON.
 */

import { journalName } from '../../key/journal-name.ts';
import type { DuplicateRecord, JournalPage, JournalRecord, OutcomeCount } from '../contract.ts';
import { addCounts, DUPLICATES_LAST_MS, HOUR_MS, HOURS, MAX_DUPLICATES } from '../journal-rules.ts';
import { type Encoded, numberFrom, type ScriptCall, textFrom } from './protocol.ts';

export const WRITE_JOURNAL_LUA: string = `
-- KEYS[1]  the list of the last duplicates
-- KEYS[2…] the hashes of counts; more are padding
-- ARGV[1]  how many counts; of each the number of its key, its field, and what is added
-- then     the duplicates, the earliest first
local counts = tonumber(ARGV[1])
for i = 0, counts - 1 do
  local key, field, added = KEYS[tonumber(ARGV[2 + 3 * i])], ARGV[3 + 3 * i], ARGV[4 + 3 * i]
  redis.call('HINCRBY', key, field, added)
  redis.call('PEXPIRE', key, ${(HOURS + 2) * HOUR_MS})
end
for i = 2 + 3 * counts, #ARGV do redis.call('LPUSH', KEYS[1], ARGV[i]) end
redis.call('LTRIM', KEYS[1], 0, ${MAX_DUPLICATES - 1})
redis.call('PEXPIRE', KEYS[1], ${DUPLICATES_LAST_MS})
`;

export const READ_JOURNAL_LUA: string = `
-- KEYS[1]  the list of the last duplicates
-- KEYS[2…] the hashes of counts; more than ARGV[1] keys are padding
-- returns  the duplicates, the last first; then of each hash its fields and values
local found = { redis.call('LRANGE', KEYS[1], 0, -1) }
for i = 2, tonumber(ARGV[1]) do found[i] = redis.call('HGETALL', KEYS[i]) end
return found
`;

const DUPLICATES = 'duplicates';

function nameOfHour(queue: string, at: number): string {
  return journalName(queue, `counts:${Math.floor(at / HOUR_MS)}`);
}

export function writeJournalPage({ queue, counts, duplicates }: JournalPage): ScriptCall {
  const keys = [journalName(queue, DUPLICATES)];
  const args: (string | number)[] = [counts.length];
  for (const { minute, outcome, count } of counts) {
    const hour = nameOfHour(queue, minute);
    if (!keys.includes(hour)) keys.push(hour);
    args.push(keys.indexOf(hour) + 1, `${minute} ${outcome}`, count);
  }
  return { keys, args: [...args, ...duplicates.map(duplicate => JSON.stringify(duplicate))] };
}

export function writeJournalQuery(queue: string, now: number): ScriptCall {
  // The first is the next hour: the clock of a worker may be ahead.
  const hours = Array.from({ length: HOURS + 2 }, (_, i) => nameOfHour(queue, now + (1 - i) * HOUR_MS));
  const keys = [journalName(queue, DUPLICATES), ...hours];
  return { keys, args: [keys.length] };
}

export function readJournalReply(reply: unknown, now: number): JournalRecord {
  const [duplicates = [], ...hours] = reply as Encoded[][];
  return {
    counts: addCounts(hours.flatMap(readCounts), now),
    duplicates: duplicates.flatMap(encoded => readDuplicate(textFrom(encoded)) ?? []).reverse(),
  };
}

/** @returns `undefined` for what no journal has written: it hides no other. */
function readDuplicate(text: string): DuplicateRecord | undefined {
  try {
    const read = JSON.parse(text) as DuplicateRecord | null;
    return typeof read?.jobId === 'string' ? read : undefined;
  } catch {
    return undefined;
  }
}

function readCounts(hash: readonly Encoded[]): OutcomeCount[] {
  const counts: OutcomeCount[] = [];
  for (let i = 0; i + 1 < hash.length; i += 2) {
    const [minute, outcome] = textFrom(hash[i] as Encoded).split(' ');
    const count = numberFrom(hash[i + 1] as Encoded);
    counts.push({ minute: Number(minute), outcome: outcome as OutcomeCount['outcome'], count });
  }
  return counts;
}
