/** What `--help` prints. */

import { EXIT } from './exit-codes.ts';

export const HELP: string = `Shows the locks of bullmq-once, and releases them by force.

  bullmq-once list                    lists the locks that are held, and how many jobs are parked for each
  bullmq-once show <key>              shows the lock and the line of one key
  bullmq-once why <job id>            shows what became of a job that was a duplicate, and which job held its key; needs --queue
  bullmq-once stats                   counts the duplicates of a queue by what became of them; needs --queue
  bullmq-once force-release <key>...  takes locks away from their holders; asks first
  bullmq-once watch                   lists the locks again and again

Where the locks are:
  --redis <url>          a Redis; else the environment variable REDIS_URL, else redis://127.0.0.1:6379
  --cluster              the Redis is a node of a Redis Cluster
  --postgres <url>       a PostgreSQL
  --schema <name>        the schema of its table once_lock (default: bullmq)

Which locks:
  --queue <name>         locks of this queue: emails, or bull:emails as the list shows it
  --prefix <name>        BullMQ's prefix of that queue, on Redis (default: bull)
  --scope <name>         locks of this scope
  --starts-with <text>   locks whose keys begin with this text
  --state <state>        running, reserved (for a retry, holdThroughRetries), done (the work succeeded, dedupeFor holds the key),
                         or foreign (a value that no lock wrote)

How:
  --json                 print one line of JSON for each lock, duplicate, or minute and outcome
  --yes                  force-release does not ask first
  --every <seconds>      how often watch lists the locks (default: 1)
  --help                 print this help
  --version              print the version

Exit codes:
  ${EXIT.ok}   success
  ${EXIT.notDone}   no lock has the key, not every lock was released, the job is not known to be a duplicate, or there is no such queue
  ${EXIT.usage}   the command line is wrong
  ${EXIT.failed}   the datastore can't be reached, or failed

What to do about what you see: docs/troubleshooting.md, in the package.
`;
