/**
 * Collects the steps of one turn of the event loop and sends them as one batch, after the turn's promises have run.
 * There is no timer: a step that is alone leaves as early as it would without a batch.
 */

import { asError } from '../../core/errors.ts';
import { nextTick } from '../../core/timers.ts';
import type {
  AcquireResult,
  AcquireStep,
  Batch,
  BatchResults,
  EnterResult,
  EnterStep,
  LeaveResult,
  LeaveStep,
  Lines,
  LockCache,
  ReleaseStep,
  RenewStep,
} from '../contract.ts';
import { exchangeWith } from './exchange.ts';
import { resumeInGroups, resumeInThisTurn } from './resuming.ts';

/** Called with the answer to a step; with an `Error` where the cache has none. */
export type OnAnswer<Answer> = (answer: Answer | Error) => void;

export class Batcher {
  readonly #cache: LockCache;
  #turn: Turn | undefined;

  constructor(cache: LockCache) {
    this.#cache = cache;
  }

  acquire(step: AcquireStep, onAnswer: OnAnswer<AcquireResult>): void {
    const turn = this.#currentTurn();
    turn.acquisitions.push(step);
    turn.onAcquired.push(onAnswer);
  }

  renew(step: RenewStep, onAnswer: OnAnswer<boolean>): void {
    const turn = this.#currentTurn();
    turn.renewals.push(step);
    turn.onRenewed.push(onAnswer);
  }

  /** @param onSent - called when the step was handed to the cache, which has not answered yet. */
  release(step: ReleaseStep, onAnswer: OnAnswer<boolean>, onSent: () => void = ignore): void {
    const turn = this.#currentTurn();
    turn.releases.push(step);
    turn.onReleased.push(onAnswer);
    turn.onSent.push(onSent);
  }

  enter(step: EnterStep, onAnswer: OnAnswer<EnterResult>): void {
    const { entries } = this.#currentTurn();
    entries.steps.push(step);
    entries.onAnswer.push(onAnswer);
  }

  /** @param onSent - see {@link release}. */
  leave(step: LeaveStep, onAnswer: OnAnswer<LeaveResult>, onSent: () => void = ignore): void {
    const turn = this.#currentTurn();
    turn.exits.steps.push(step);
    turn.exits.onAnswer.push(onAnswer);
    turn.onSent.push(onSent);
  }

  #currentTurn(): Turn {
    if (this.#turn) return this.#turn;
    this.#turn = new Turn(this.#cache);
    // A tick that is queued by a promise callback runs after all promise callbacks of the turn, and before any I/O.
    nextTick(this.#send);
    return this.#turn;
  }

  readonly #send = (): void => {
    const turn = this.#turn as Turn;
    this.#turn = undefined;
    if (turn.hasPlainSteps) {
      exchangeWith(this.#cache, turn).then(
        results => turn.answer(results),
        error => turn.fail(asError(error)),
      );
    }
    const { exits, entries } = turn;
    if (exits.steps.length > 0) exits.send(steps => needLines(this.#cache).leave(steps));
    if (entries.steps.length > 0) entries.send(steps => needLines(this.#cache).enter(steps));
    // A completion is sent in the turn of its release. So none is sent before its release where the connection drops, and that is sent anew.
    void resumeInThisTurn(turn.onSent, onSent => onSent(), this.#cache.holdWrites);
  };
}

/** The steps of one turn of the event loop, each with its continuation. */
class Turn implements Batch {
  readonly acquisitions: AcquireStep[] = [];
  readonly renewals: RenewStep[] = [];
  readonly releases: ReleaseStep[] = [];
  readonly onAcquired: OnAnswer<AcquireResult>[] = [];
  readonly onRenewed: OnAnswer<boolean>[] = [];
  readonly onReleased: OnAnswer<boolean>[] = [];
  readonly entries: LineSteps<EnterStep, EnterResult>;
  readonly exits: LineSteps<LeaveStep, LeaveResult>;
  readonly onSent: (() => void)[] = [];
  readonly #cache: LockCache;

  constructor(cache: LockCache) {
    this.entries = new LineSteps(cache);
    this.exits = new LineSteps(cache);
    this.#cache = cache;
  }

  get hasPlainSteps(): boolean {
    return this.acquisitions.length + this.renewals.length + this.releases.length > 0;
  }

  answer({ released, renewed, acquired }: BatchResults): void {
    const { holdWrites } = this.#cache;
    resumeInGroups(this.onReleased, (onAnswer, i) => onAnswer(released[i] ?? missing()), holdWrites);
    for (const [i, onAnswer] of this.onRenewed.entries()) onAnswer(renewed[i] ?? missing());
    // Work that begins has nothing to write yet. A duplicate has its completion.
    const refused: (() => void)[] = [];
    for (const [i, onAnswer] of this.onAcquired.entries()) {
      const answer = acquired[i] ?? missing();
      if (isRefusal(answer)) refused.push(() => onAnswer(answer));
      else onAnswer(answer);
    }
    void resumeInThisTurn(refused, resume => resume(), holdWrites);
  }

  fail(error: Error): void {
    resumeInGroups(this.onReleased, onAnswer => onAnswer(error), this.#cache.holdWrites);
    for (const onAnswer of this.onRenewed) onAnswer(error);
    for (const onAnswer of this.onAcquired) onAnswer(error);
  }
}

/** The steps of one kind on keys with several places or a line, each with its continuation. */
class LineSteps<Step, Answer> {
  readonly steps: Step[] = [];
  readonly onAnswer: OnAnswer<Answer>[] = [];
  readonly #cache: LockCache;

  constructor(cache: LockCache) {
    this.#cache = cache;
  }

  send(ask: (steps: readonly Step[]) => Promise<readonly (Answer | Error)[]>): void {
    const asked = new Promise<readonly (Answer | Error)[]>(resolve => resolve(ask(this.steps)));
    asked.then(
      answers => this.#resume(i => answers[i] ?? missing()),
      error => this.#resume(() => asError(error)),
    );
  }

  #resume(answerTo: (i: number) => Answer | Error): void {
    resumeInGroups(this.onAnswer, (onAnswer, i) => onAnswer(answerTo(i)), this.#cache.holdWrites);
  }
}

function isRefusal(answer: AcquireResult | Error): boolean {
  return !(answer instanceof Error) && !answer.acquired;
}

function needLines(cache: LockCache): Lines {
  if (cache.enter && cache.leave) return cache as Lines;
  throw new Error(
    "the cache has no methods 'enter' and 'leave', which 'concurrency' and strategies that park their duplicates need",
  );
}

function ignore(): void {}

function missing(): Error {
  return new Error('the cache gave fewer answers than it was asked for');
}
