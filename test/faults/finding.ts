/** What the rules of the checker have in common. */

import type { Account, Acquisition } from './account.ts';

/** What was seen, and when. */
export type Finding = readonly [what: string, at: number];

/** When the datastore may last have lost what it had stored at `since`, if the loss began before `until`; else never. */
export function dataLostAt({ dataLosses }: Account, since: number, until: number): number {
  return (
    dataLosses.findLast(loss => loss.until >= since && loss.from <= until)?.until ?? Number.NEGATIVE_INFINITY
  );
}

export function wasDataLost(account: Account, since: number, until: number): boolean {
  return dataLostAt(account, since, until) > 0;
}

/** Whether all that acquire a key park their duplicates in lines of this kind. A deploy may change that. */
export function isOnlyLine(account: Account, storedKey: string, line: Acquisition['line']): boolean {
  return account.acquisitionsOf.get(storedKey)?.every(one => one.line === line) ?? false;
}
