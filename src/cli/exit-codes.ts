/** The exit codes of the command line, as `--help` lists them. Scripts depend on them. */

export const EXIT = {
  ok: 0,
  /** No lock has the key, not every lock was released, the job is not known to be a duplicate, or there is no such queue. */
  notDone: 1,
  /** The command line is wrong. */
  usage: 2,
  /** The datastore can't be reached, or failed. */
  failed: 3,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
