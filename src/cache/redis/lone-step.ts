/**
 * One step in one call. A worker of few slots sends nothing else. On the server it takes a third of the time that a batch of one
 * takes.
 */

import type { AcquireStep, Batch, BatchResults, ReleaseStep } from '../contract.ts';
import type { ScriptRunner } from './client.ts';
import {
  acquireResultFrom,
  type Encoded,
  leasePart,
  numberFrom,
  type SpecialAnswer,
  tokenPart,
} from './protocol.ts';

export class LoneStep {
  readonly #script: ScriptRunner;

  /** @param script - the one that does batches. */
  constructor(script: ScriptRunner) {
    this.#script = script;
  }

  /** Sends a batch of one acquisition, or of one release that keeps nothing; `undefined` where it is another batch. */
  send({ acquisitions, renewals, releases }: Batch): Promise<BatchResults> | undefined {
    if (renewals.length > 0 || acquisitions.length + releases.length !== 1) return undefined;
    const [acquisition] = acquisitions;
    if (acquisition) return this.#sendAcquisition(acquisition);
    const release = releases[0] as ReleaseStep;
    return release.dedupeFor === 0 && !release.reservation ? this.#sendRelease(release) : undefined;
  }

  async #sendAcquisition(step: AcquireStep): Promise<BatchResults> {
    const args = ['acquire', leasePart(step), Math.ceil(step.ttl), step.notify ? 1 : 0];
    const answer = (await this.#script.run([step.storedKey], args)) as SpecialAnswer;
    return { acquired: [acquireResultFrom(step.storedKey, answer)], renewed: [], released: [] };
  }

  async #sendRelease({ storedKey, token }: ReleaseStep): Promise<BatchResults> {
    const answer = (await this.#script.run([storedKey], ['release', tokenPart(token)])) as Encoded;
    return { acquired: [], renewed: [], released: [numberFrom(answer) === 1] };
  }
}
