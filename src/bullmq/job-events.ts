/** Tells the events of one job's lock also where BullMQ's users look: in the job's log, on its span, on the worker's meter. */

import { describeHolder } from '../core/errors.ts';
import {
  type Fate,
  type FateEvent,
  isOfDuplicate,
  type LockEvent,
  type LockEventType,
  Teller,
} from '../events/events.ts';
import { parseName } from '../key/stored-name.ts';
import { warn } from '../core/warnings.ts';
import { type JobLike, jobIdIn } from './job.ts';
import { activeSpan, type Instruments, instrumentsOf, type Telemetry, tellSpan } from './telemetry.ts';

/** What of a job is asked for. */
interface LoggingJob extends JobLike {
  /** Writes a line; in a sandbox it sends it to the worker. */
  log?(line: string): unknown;
  readonly queue?: { readonly opts?: { readonly telemetry?: Telemetry } };
}

/**
 * Who tells the events of a job: its processor's teller, unless there is more to be told of.
 * @param log - whether what becomes of a duplicate is a line in its log.
 */
export function tellerOf(job: LoggingJob, teller: Teller, log: boolean): Teller {
  const telemetry = job.queue?.opts?.telemetry;
  return telemetry || log ? new JobTeller(job, teller, log, telemetry) : teller;
}

class JobTeller extends Teller {
  readonly #job: LoggingJob;
  readonly #teller: Teller;
  readonly #log: boolean;
  readonly #span: ReturnType<typeof activeSpan>;
  readonly #instruments: Instruments | undefined;

  constructor(job: LoggingJob, teller: Teller, log: boolean, telemetry: Telemetry | undefined) {
    super();
    this.#job = job;
    this.#teller = teller;
    this.#log = log;
    // Events come when it is no longer active.
    this.#span = telemetry && activeSpan(telemetry);
    this.#instruments = telemetry && instrumentsOf(telemetry);
  }

  override hears(type: LockEventType): boolean {
    return (
      this.#span !== undefined || this.#instruments !== undefined || this.#log || this.#teller.hears(type)
    );
  }

  override tell(event: LockEvent): void {
    this.#teller.tell(event);
    try {
      if (this.#span) tellSpan(this.#span, event);
      this.#instruments?.tell(event);
    } catch (error) {
      warn('ONCE_TELEMETRY', `telemetry failed on '${event.type}': ${error}`);
    }
    if (this.#log && isOfDuplicate(event)) this.#write(lineOf(event));
  }

  /** It is sent before the job's completion is. A line that can't be written harms nothing. */
  #write(line: string): void {
    const report = (error: unknown) =>
      warn('ONCE_LOG', `a line of a job's log could not be written: ${error}`);
    try {
      Promise.resolve(this.#job.log?.(line)).catch(report);
    } catch (error) {
      report(error);
    }
  }
}

const WORDS: Record<Fate, string> = {
  skipped: 'skipped',
  raised: 'failed',
  retried: 'put off',
  kept: 'waits as the newest',
};

/** `skipped: 'welcome-42' is held by job 17 of emails for another 12 s` */
function lineOf({ type, key, holder, observed, storedKey, queueName }: FateEvent): string {
  const what = observed ? `would be ${type === 'kept' ? 'kept as the newest' : WORDS[type]}` : WORDS[type];
  if (!holder) return `${what}: a newer job of '${key}' has come`;
  return `${what}: '${key}' ${describeHolder(holder, ownerIn(holder.owner, storedKey, queueName), timeOf)}`;
}

/** A job of the same queue by its id. */
function ownerIn(owner: string, storedKey: string, queueName: string | undefined): string {
  const queue = parseName(storedKey)?.queue;
  const id = queue === undefined ? undefined : jobIdIn(owner, queue);
  return id === undefined ? owner : `job ${id} of ${queueName}`;
}

function timeOf(ms: number): string {
  return ms < 1000 ? `${Math.ceil(ms)} ms` : `${Math.round(ms / 1000)} s`;
}
