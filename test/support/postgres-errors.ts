/** What PostgreSQL's errors say, for tests. */

/** Whether a step waited too long for its row: another transaction had locked it. Nothing was done. */
export function isLockTimeout(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === '55P03';
}
