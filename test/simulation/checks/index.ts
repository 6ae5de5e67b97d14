/** All checks, a guarantee each. */

import { callers } from './callers.ts';
import { cancelled } from './cancelled.ts';
import type { MakeCheck } from './check.ts';
import { crashBlocksForTtl } from './crash-blocks-for-ttl.ts';
import { exclusion } from './exclusion.ts';
import { fencing } from './fencing.ts';
import { finishedMeansFree } from './finished-means-free.ts';
import { hidesNothing } from './hides-nothing.ts';
import { inOrder } from './in-order.ts';
import { keepsDelay } from './keeps-delay.ts';
import { knowsInTime } from './knows-in-time.ts';
import { newest } from './newest.ts';
import { noAnswerIsNoDuplicate } from './no-answer-is-no-duplicate.ts';
import { notLost } from './not-lost.ts';
import { onlyTheHolder } from './only-the-holder.ts';
import { outcomes } from './outcomes.ts';
import { ownLease } from './own-lease.ts';
import { promptness } from './promptness.ts';
import { replaced } from './replaced.ts';
import { reservation } from './reservation.ts';
import { shared } from './shared.ts';
import { waiters } from './waiters.ts';

export const CHECKS: readonly MakeCheck[] = [
  exclusion,
  onlyTheHolder,
  crashBlocksForTtl,
  ownLease,
  knowsInTime,
  finishedMeansFree,
  fencing,
  noAnswerIsNoDuplicate,
  hidesNothing,
  keepsDelay,
  notLost,
  inOrder,
  newest,
  waiters,
  outcomes,
  promptness,
  replaced,
  reservation,
  shared,
  callers,
  cancelled,
];
