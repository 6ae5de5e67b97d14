/** The steps that tests send to a cache: those of the conformance suite. */

export { acquire, acquireStep, releaseStep, renewStep } from '../../src/conformance/helpers.ts';
