/** Tells what happens to a lease. Nothing is made where nobody listens. */

import type { LossReason } from '../core/errors.ts';
import type { AboutLock, FailedEvent } from '../events/events.ts';
import type { KeptLease, LeaseRequest } from './lease.ts';

/** What events say of a lease that is asked for. */
export function about({ name, key, owner, queueName, jobId }: LeaseRequest): AboutLock {
  return { key: name, storedKey: key, owner, ...(queueName !== undefined && { queueName, jobId }) };
}

export function tellTaken({ request, fence }: KeptLease, tookOver: boolean): void {
  const { teller, since } = request;
  if (tookOver && teller.hears('taken-over')) teller.tell({ type: 'taken-over', ...about(request), fence });
  if (!teller.hears('acquired')) return;
  teller.tell({ type: 'acquired', ...about(request), fence, waited: performance.now() - since });
}

export function tellLost({ request, fence }: KeptLease, why: LossReason): void {
  const { teller } = request;
  if (teller.hears('lost')) teller.tell({ type: 'lost', ...about(request), fence, why });
}

export function tellRenewed({ request, fence, ttl }: KeptLease): void {
  const { teller } = request;
  if (teller.hears('renewed')) teller.tell({ type: 'renewed', ...about(request), fence, ttl });
}

export function tellReleased(lease: KeptLease): void {
  const { request, fence, keepFor } = lease;
  if (!request.teller.hears('released')) return;
  request.teller.tell({ type: 'released', ...about(request), fence, held: lease.heldFor, keepFor });
}

export function tellFailed({ request }: KeptLease, step: FailedEvent['step'], error: Error): void {
  const { teller, runsAnyway } = request;
  if (!teller.hears('failed')) return;
  teller.tell({ type: 'failed', ...about(request), step, error, unguarded: step === 'claim' && runsAnyway });
}
