/** What a cache can guarantee. Every test of the conformance suite belongs to one of these. */

export const GUARANTEES = {
  exclusion: 'A key never has more than one lease that has not expired.',
  onlyTheHolder: 'Renew and release act only where their token is stored.',
  expiry: 'A lease ends after its ttl, unless it is renewed.',
  reclaim: "A newer run of an owner reclaims the owner's lease.",
  dedupeWindow: 'A released key can stay held as done for a while.',
  reservations: 'A released key can stay reserved for the next run of its owner.',
  fencing: 'The fence of a key rises with every acquisition.',
  batches: 'A batch is answered step by step, in order.',
  anyKey: 'Keys of any characters and any length are kept apart.',
  foreignValues: 'A value that no lock wrote counts as held and is left alone.',
  outages: 'A store that is unreachable is an error, never an answer.',
  acrossInstances: 'Two instances on one store exclude each other, as two processes do.',
  retention: 'A lease is kept, however many others there are.',
  lines: 'A key can have several places, and a line of those who are parked for it.',
  results: 'The result of work that was done can be kept, and shared by those who are parked for it.',
  matching: 'The record of a key keeps what must be equal besides the key.',
  listing: 'Operators can list the locks.',
  forcedRelease: 'Operators can force-release a key.',
} as const;

export type GuaranteeName = keyof typeof GUARANTEES;
