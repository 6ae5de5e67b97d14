/** Emits the events of one job's lock also where BullMQ's users look: in the job's log, on its span, on the worker's meter. */

import { describeThrown } from '../core/errors.ts';
import { describeHolder } from '../core/holder.ts';
import { shown } from '../core/printable.ts';
import { warn } from '../core/warnings.ts';
import { Emitter } from '../events/emitter.ts';
import { isOutcomeEvent, type LockEvent, type LockEventType, type OutcomeEvent } from '../events/events.ts';
import type { RunningJob } from './job.ts';
import { activeSpan, type Instruments, instrumentsOf, recordOnSpan, type Telemetry } from './telemetry.ts';

/**
 * The emitter of a job's events: its processor's, unless there are more places to write to.
 * @param logToJob - what becomes of a duplicate is a line in its log.
 */
export function emitterOf(job: RunningJob, emitter: Emitter, { logToJob }: { logToJob: boolean }): Emitter {
  const telemetry = job.queue?.opts?.telemetry;
  return telemetry || logToJob ? new JobEmitter(job, emitter, logToJob, telemetry) : emitter;
}

class JobEmitter extends Emitter {
  readonly #job: RunningJob;
  readonly #emitter: Emitter;
  readonly #logToJob: boolean;
  readonly #span: ReturnType<typeof activeSpan>;
  readonly #instruments: Instruments | undefined;

  constructor(job: RunningJob, emitter: Emitter, logToJob: boolean, telemetry: Telemetry | undefined) {
    super();
    this.#job = job;
    this.#emitter = emitter;
    this.#logToJob = logToJob;
    if (!telemetry) return;
    try {
      // Events come when the span is no longer active.
      this.#span = activeSpan(telemetry);
      this.#instruments = instrumentsOf(telemetry);
    } catch (error) {
      warn('ONCE_TELEMETRY', `telemetry can't be used: ${describeThrown(error)}`);
    }
  }

  override isObserved(type: LockEventType): boolean {
    const isWritten = this.#span !== undefined || this.#instruments !== undefined || this.#logToJob;
    return isWritten || this.#emitter.isObserved(type);
  }

  override emit(event: LockEvent): void {
    this.#emitter.emit(event);
    try {
      if (this.#span) recordOnSpan(this.#span, event);
      this.#instruments?.record(event);
    } catch (error) {
      warn('ONCE_TELEMETRY', `telemetry failed on '${event.type}': ${describeThrown(error)}`);
    }
    if (this.#logToJob && isOutcomeEvent(event)) this.#log(logLineOf(event));
  }

  /** The line is sent before the job's completion is. A line that can't be written harms nothing. */
  #log(line: string): void {
    const report = (error: unknown) =>
      warn('ONCE_LOG', `a line of a job's log could not be written: ${describeThrown(error)}`);
    try {
      Promise.resolve(this.#job.log?.(line)).catch(report);
    } catch (error) {
      report(error);
    }
  }
}

/** `skipped: 'welcome-42' is held by job 17 of emails` */
function logLineOf({ type, key, holder, observed }: OutcomeEvent): string {
  const outcome = `${observed ? 'would be ' : ''}${type}`;
  return holder
    ? `${outcome}: '${shown(key)}' ${describeHolder(holder)}`
    : `${outcome}: a newer job of '${shown(key)}' has come`;
}
