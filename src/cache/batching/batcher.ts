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
import { type Resume, resumeInGroups } from './resuming.ts';
import { allFailed } from './split.ts';

/**
 * Called with the answer to a step as soon as it has come; with an `Error` where the cache has none.
 * @returns what lets those continue who wait for it, and write something then. It is called a little later, where many do.
 */
export type OnAnswer<Answer> = (answer: Answer | Error) => Resume | undefined;

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

  renew(step: RenewStep, onAnswer: (answer: boolean | Error) => void): void {
    const turn = this.#currentTurn();
    turn.renewals.push(step);
    turn.onRenewed.push(onAnswer);
  }

  /** @param onSent - called when the step was handed to the cache, which has not answered yet. */
  release(step: ReleaseStep, onAnswer: OnAnswer<boolean>, onSent: Resume = ignore): void {
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
  leave(step: LeaveStep, onAnswer: OnAnswer<LeaveResult>, onSent: Resume = ignore): void {
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
        error => turn.answer(allFailed(turn, asError(error))),
      );
    }
    const { exits, entries } = turn;
    if (exits.steps.length > 0) exits.send(steps => needLines(this.#cache).leave(steps));
    if (entries.steps.length > 0) entries.send(steps => needLines(this.#cache).enter(steps));
    resumeInGroups(turn.onSent, this.#cache.holdWrites);
  };
}

/** The steps of one turn of the event loop, each with its continuation. */
class Turn implements Batch {
  readonly acquisitions: AcquireStep[] = [];
  readonly renewals: RenewStep[] = [];
  readonly releases: ReleaseStep[] = [];
  readonly onAcquired: OnAnswer<AcquireResult>[] = [];
  readonly onRenewed: ((answer: boolean | Error) => void)[] = [];
  readonly onReleased: OnAnswer<boolean>[] = [];
  readonly entries: LineSteps<EnterStep, EnterResult>;
  readonly exits: LineSteps<LeaveStep, LeaveResult>;
  readonly onSent: Resume[] = [];
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
    for (const [i, onAnswer] of this.onRenewed.entries()) onAnswer(renewed[i] ?? missing());
    const releasers = answerEach(this.onReleased, i => released[i]);
    const duplicates = answerEach(this.onAcquired, i => acquired[i]);
    resumeInGroups(releasers.concat(duplicates), this.#cache.holdWrites);
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
      answers => this.#answer(i => answers[i]),
      error => this.#answer(() => asError(error)),
    );
  }

  #answer(answerTo: AnswerTo<Answer>): void {
    resumeInGroups(answerEach(this.onAnswer, answerTo), this.#cache.holdWrites);
  }
}

type AnswerTo<Answer> = (i: number) => Answer | Error | undefined;

/** @returns what lets those continue who wait. */
function answerEach<Answer>(onAnswers: readonly OnAnswer<Answer>[], answerTo: AnswerTo<Answer>): Resume[] {
  const resumes: Resume[] = [];
  for (const [i, onAnswer] of onAnswers.entries()) {
    const resume = onAnswer(answerTo(i) ?? missing());
    if (resume) resumes.push(resume);
  }
  return resumes;
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
