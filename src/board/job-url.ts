/** Links to jobs on a page of the operator's choice, such as Bull Board's. */

import { type Parser, show } from '../core/validation.ts';

/** The address of a job; `undefined` where none is known. */
export type JobUrl = (job: {
  readonly jobId?: string | undefined;
  readonly queueName?: string | undefined;
}) => string | undefined;

/** Takes `'/queues/queue/{queue}/{id}'`. */
export const jobUrl: Parser<JobUrl> = (value, option) => {
  const isAddress = typeof value === 'string' && /^(?:https?:\/\/|\/)/.test(value);
  if (!isAddress || !value.includes('{queue}') || !value.includes('{id}')) {
    throw new TypeError(
      `${option} must be an address with {queue} and {id}, such as '/queues/queue/{queue}/{id}', not ${show(value)}`,
    );
  }
  return ({ jobId, queueName }) =>
    jobId === undefined || queueName === undefined
      ? undefined
      : value
          .replaceAll('{queue}', () => encodeURIComponent(queueName))
          .replaceAll('{id}', () => encodeURIComponent(jobId));
};

export const noJobUrl: JobUrl = () => undefined;
