/** The steps that tests send to a cache: those of the conformance suite. */

export {
  acquire,
  acquireStep,
  release,
  releaseStep,
  renewStep,
  reserve,
} from '../../src/conformance/helpers.ts';
export { enterStep, leaveStep } from '../../src/conformance/lines.ts';
