/** Histories that break what the strategies owe: each one guarantee, and nothing else. */

import type { Guarantee } from './checker.ts';
import { type Story, story } from './story.ts';

/** The jobs of a queue, by their numbers. */
const job = (number: number) => `bull:queue:${number}@0`;

export const WRONG_STRATEGIES: readonly (readonly [Guarantee, string, Story])[] = [
  [
    'exclusion',
    'three runs hold a key with two places',
    story({ places: 2 })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .acquired(10, 2, 'b', 20)
      .started(12, 2, 'b', 20)
      .acquired(20, 3, 'c', 30)
      .started(22, 3, 'c', 30)
      .ended(100, 1, 'a')
      .ended(100, 2, 'b')
      .ended(100, 3, 'c'),
  ],
  [
    'exclusion',
    'a lease is granted while another can not have ended (nobody runs yet)',
    story()
      .acquired(0, 1, 'a', 10)
      .acquired(500, 2, 'b', 20)
      .released(900, 1, 'a', false)
      .released(900, 2, 'b'),
  ],
  [
    'reserved',
    'another job acquires what is reserved for a retry',
    story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .reserved(100, 1, 'a')
      .finalState('a', 'failed')
      .acquired(200, 2, 'b', 20)
      .started(202, 2, 'b', 20)
      .ended(300, 2, 'b'),
  ],
  [
    'order',
    'a job is skipped that was to run in its turn',
    story({ line: 'all' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .refused(100, 2, 'b', 'a', 10)
      .completed(102, 2, 'b', 'skipped')
      .ended(200, 1, 'a'),
  ],
  [
    'order',
    'the second of a line runs before the first',
    story({ line: 'all' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .parked(100, 2, 'b', 'a', 10)
      .parked(200, 3, 'c', 'a', 10)
      .ended(300, 1, 'a')
      .acquiredAgain(310, 3, 'c', 20)
      .started(312, 3, 'c', 20)
      .ended(320, 3, 'c', true, 'c again')
      .acquiredAgain(330, 2, 'b', 30)
      .started(332, 2, 'b', 30)
      .ended(340, 2, 'b', true, 'b again'),
  ],
  [
    'newest',
    'the newest job is skipped, and older ones have run',
    story({ line: 'newest' })
      .acquired(0, 1, job(1), 10)
      .started(2, 1, job(1), 10)
      .refused(100, 2, job(2), job(1), 10)
      .completed(102, 2, job(2), 'skipped')
      .ended(200, 1, job(1)),
  ],
  [
    'result',
    'a job shares a result that no run has returned',
    shareOf('a').ended(200, 1, 'a').shared(210, 2, 'b', 'the result of c'),
  ],
  [
    'result',
    'a job shares the result of work that was done before it came',
    story({ line: 'together' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .ended(100, 1, 'a')
      .shared(200, 2, 'b', 'the result of a'),
  ],
  [
    'result',
    'a job is skipped that was to share a result',
    shareOf('a').refused(150, 2, 'b', 'a', 10).completed(152, 2, 'b', 'skipped').ended(200, 1, 'a'),
  ],
  [
    'result',
    'a job is completed with the result of another run than its own',
    story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .ended(100, 1, 'a')
      .record(9001, 0, { event: 'final-state', owner: 'a', state: 'completed', result: 'the result of b' }),
  ],
];

/** A job runs, and another is parked to share its result. */
function shareOf(owner: string): Story {
  return story({ line: 'together' })
    .acquired(0, 1, owner, 10)
    .started(2, 1, owner, 10)
    .parked(100, 2, 'b', owner, 10);
}
