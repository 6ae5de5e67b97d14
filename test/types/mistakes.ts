/** Mistakes in calls and decorators, and what the compiler says of each. */

export interface Mistake {
  readonly what: string;
  readonly program: string;
  /** The source begins with this where the compiler points to. */
  readonly at: string;
  /** What the compiler's text contains. */
  readonly says: readonly string[];
}

/** What each program begins with. */
export const PREAMBLE = `
import { type Job, type SandboxedJob, Worker } from 'bullmq';
import { once, onceProcessor } from 'bullmq-once';

interface Data {
  readonly userId: number;
  readonly user?: { readonly name: string; readonly tags: readonly string[] };
}
declare const send: (job: Job<Data, string>) => Promise<string>;
declare const sendInSandbox: (job: SandboxedJob<Data>) => Promise<string>;
declare const download: (feed: { url: string }) => Promise<string>;
`;

const noUserID = "no field 'userID' in the job's data";

const inOptions: readonly Mistake[] = [
  {
    what: 'a misspelt option',
    program: 'onceProcessor(send, { raiseIfLocked: true });',
    at: 'raiseIfLocked',
    says: ["'raiseIfLocked' does not exist in type 'OnceProcessorOptions<", "'raiseIfLock'?"],
  },
  {
    what: 'a flag that is a string',
    program: "onceProcessor(send, { raiseIfLock: 'yes' });",
    at: 'raiseIfLock',
    says: ["Type 'string' is not assignable to type 'boolean"],
  },
  {
    what: 'a time that is a string',
    program: "onceProcessor(send, { ttl: '5s' });",
    at: 'ttl',
    says: ["Type 'string' is not assignable to type 'number'"],
  },
  ...(
    [
      ['dedupeFor', "'1m'", "Type 'string' is not assignable to type 'number'"],
      ['maxHold', "'1m'", "Type 'string' is not assignable to type 'number'"],
      ['concurrency', "'3'", "Type 'string' is not assignable to type 'number'"],
      ['scope', '7', "Type 'number' is not assignable to type 'string'"],
      ['holdThroughRetries', '1', "Type 'number' is not assignable to type 'boolean"],
      ['logToJob', '1', "Type 'number' is not assignable to type 'boolean"],
      ['journal', '1', "Type 'number' is not assignable to type 'boolean"],
      ['mode', "'on'", `Type '"on"' is not assignable to type 'Mode`],
      ['onCacheError', "'skip'", `Type '"skip"' is not assignable to type '"raise" | "run"`],
      ['onEvent', "'log'", "is not assignable to type 'OnEvent'"],
      ['cache', '7', "Type 'number' is not assignable to type 'string | Cache"],
      ['match', '7', "Type 'number' is not assignable to type"],
    ] as const
  ).map(([option, value, says]) => ({
    what: `an option that is something else (${option}: ${value})`,
    program: `onceProcessor(send, { ${option}: ${value} });`,
    at: option,
    says: [says],
  })),
  {
    what: 'a whenLocked that does not exist',
    program: "onceProcessor(send, { whenLocked: 'wait' });",
    at: 'whenLocked',
    says: [`Type '"wait"' is not assignable to type 'WhenLocked<`],
  },
  {
    what: 'a delay that is a string',
    program: "onceProcessor(send, { whenLocked: { delay: 'soon' } });",
    at: 'delay',
    says: [`Type '"soon"' is not assignable to type 'number | "holder" | ((job: Job<Data, `],
  },
  {
    what: 'a whenLocked function whose result is not the result of the processor',
    program: 'onceProcessor(send, { whenLocked: () => 42 });',
    at: 'whenLocked',
    says: ["Type 'number' is not assignable to type 'string | PromiseLike<string | undefined> | undefined'"],
  },
  {
    what: 'a key function that returns a number',
    program: 'onceProcessor(send, { key: job => job.data.userId });',
    at: 'key',
    says: ["Type 'number' is not assignable to type 'string'"],
  },
  {
    what: 'a processor whose first parameter is no job',
    program: "onceProcessor(async (id: number) => id, { key: 'k' });",
    at: 'async (id: number)',
    says: [
      "Types of parameters 'id' and 'job' are incompatible",
      "'AnyJob' is not assignable to type 'number'",
    ],
  },
  {
    what: 'the same without options',
    program: 'onceProcessor(async (id: number) => id);',
    at: 'async (id: number)',
    says: ["Argument of type '(id: number) => Promise<number>' is not assignable"],
  },
];

const inTemplates: readonly Mistake[] = [
  {
    what: 'a misspelt placeholder',
    program: "onceProcessor(send, { key: 'welcome-{userID}' });",
    at: 'key',
    says: [noUserID],
  },
  {
    what: 'a misspelt field of a field',
    program: "onceProcessor(send, { key: 'welcome-{user.nam}' });",
    at: 'key',
    says: ["no field 'user.nam' in the job's data"],
  },
  {
    what: 'one misspelt placeholder of two',
    program: "onceProcessor(send, { key: '{userId}-{id}' });",
    at: 'key',
    says: ["no field 'id' in the job's data"],
  },
  {
    what: 'a misspelt placeholder of match',
    program: "onceProcessor(send, { key: 'welcome-{userId}', match: '{user.nam}' });",
    at: 'match',
    says: ["no field 'user.nam' in the job's data"],
  },
  {
    what: 'a misspelt placeholder of match without a key',
    program: "onceProcessor(send, { match: '{userID}' });",
    at: 'match',
    says: [noUserID],
  },
  {
    what: 'a misspelt placeholder of match beside the type argument of the data',
    program: "onceProcessor<Data>(async job => job.id, { key: '{userId}', match: '{userID}' });",
    at: 'match',
    says: [`Type '"{userID}"' is not assignable to type`, '{userId}'],
  },
  {
    what: 'a misspelt placeholder in a sandboxed processor',
    program: "onceProcessor(sendInSandbox, { key: 'welcome-{userID}' });",
    at: 'key',
    says: [noUserID],
  },
  {
    what: "a misspelt placeholder where the job has its worker's type",
    program: "new Worker<Data>('q', onceProcessor(async job => job.id, { key: 'welcome-{userID}' }));",
    at: 'key',
    says: [noUserID],
  },
  {
    what: 'a misspelt placeholder beside the type argument of the data',
    program: "onceProcessor<Data>(async job => job.id, { key: 'welcome-{userID}' });",
    at: 'key',
    says: [`Type '"welcome-{userID}"' is not assignable to type`, '{userId}'],
  },
  {
    what: 'a misspelt placeholder beside the type arguments of the data and the result',
    program: "onceProcessor<Data, string>(async () => 'sent', { key: 'welcome-{userID}' });",
    at: 'key',
    says: [`Type '"welcome-{userID}"' is not assignable to type`, '{userId}'],
  },
  {
    what: 'a misspelt field of a field beside a type argument',
    program: "onceProcessor<Data>(async job => job.id, { key: 'welcome-{user.nam}' });",
    at: 'key',
    says: [`Type '"welcome-{user.nam}"' is not assignable to type`, '{user.name}'],
  },
  {
    what: 'a misspelt placeholder beside all type arguments',
    program: "onceProcessor<Data, string, string, '{userID}'>(async () => 'sent', { key: '{userID}' });",
    at: 'key',
    says: [noUserID],
  },
];

const inCallsOfOnce: readonly Mistake[] = [
  {
    what: 'a misspelt option of once',
    program: "once(download, { key: 'k', raiseIfLocked: true });",
    at: 'raiseIfLocked',
    says: ["'raiseIfLocked' does not exist in type 'OnceOptions<", "'raiseIfLock'?"],
  },
  {
    what: 'a missing key of once',
    program: 'once(download, {});',
    at: '{}',
    says: ["Property 'key' is missing in type '{}'"],
  },
  {
    what: 'options of once that are left out',
    program: 'once(download);',
    at: 'download',
    says: ["is not assignable to parameter of type 'OnceOptions<"],
  },
  {
    what: 'a time of once that is a string',
    program: "once(download, { key: 'k', ttl: '5s' });",
    at: 'ttl',
    says: ["Type 'string' is not assignable to type 'number'"],
  },
  {
    what: 'a whenLocked that once does not have',
    program: "once(download, { key: 'k', whenLocked: 'keep-last' });",
    at: 'whenLocked',
    says: [`Type '"keep-last"' is not assignable to type`, 'WaitFor'],
  },
  {
    what: 'a key function of once that returns a number',
    program: 'once(download, { key: feed => feed.url.length });',
    at: 'key',
    says: ["Type 'number' is not assignable to type 'string'"],
  },
  {
    what: 'a placeholder that the first argument does not have',
    program: "once(download, { key: 'feed-{ur}' });",
    at: 'key',
    says: ["no field 'ur' in the first argument"],
  },
  {
    what: 'a placeholder of match that the first argument does not have',
    program: "once(download, { key: 'feed-{url}', match: '{ur}' });",
    at: 'match',
    says: ["no field 'ur' in the first argument"],
  },
  {
    what: 'a placeholder for an argument that does not exist',
    program: "once(download, { key: 'feed-{0.url}-{1}' });",
    at: 'key',
    says: ["no field '1' in the list of arguments"],
  },
];

const method = (decorator: string, declaration: string) =>
  `export class Emails {\n  readonly ttl = '5s';\n  ${decorator}\n  ${declaration} { throw this; }\n}`;
const noResult = "the method's result must allow for undefined";

export const MISTAKES_IN_DECORATORS: readonly Mistake[] = [
  {
    what: "a placeholder that the method's job does not have",
    program: method("@onceProcessor({ key: '{userID}' })", 'async process(job: Job<Data>): Promise<void>'),
    at: 'onceProcessor',
    says: [noUserID],
  },
  {
    what: "a placeholder of match that the method's job does not have",
    program: method(
      "@onceProcessor({ key: '{userId}', match: '{userID}' })",
      'async process(job: Job<Data>): Promise<void>',
    ),
    at: 'onceProcessor',
    says: [noUserID],
  },
  {
    what: "a placeholder of match in an instance's options that the method's job does not have",
    program: method(
      "@onceProcessor((emails: Emails) => ({ key: '{userId}', match: '{userID}', scope: emails.ttl }))",
      'async process(job: Job<Data>): Promise<void>',
    ),
    at: 'onceProcessor',
    says: [noUserID],
  },
  {
    what: 'a placeholder of match of @once that the argument does not have',
    program: method(
      "@once({ key: '{url}', match: '{ur}' })",
      'async send(feed: { url: string }): Promise<void>',
    ),
    at: 'once',
    says: ["no field 'ur' in the first argument"],
  },
  {
    what: "a placeholder of an instance's options that the method's job does not have",
    program: method(
      "@onceProcessor((emails: Emails) => ({ key: '{userID}', scope: emails.ttl }))",
      'async process(job: Job<Data>): Promise<void>',
    ),
    at: 'onceProcessor',
    says: [noUserID],
  },
  {
    what: "an instance's option of the wrong type",
    program: method(
      '@onceProcessor((emails: Emails) => ({ ttl: emails.ttl }))',
      'async process(job: Job<Data>): Promise<void>',
    ),
    at: '(emails: Emails)',
    says: ['ttl', "Type 'string' is not assignable to type 'number'"],
  },
  {
    what: 'options for instances of another class',
    program: method(
      "@onceProcessor((date: Date) => ({ key: '{userId}', ttl: date.getTime() }))",
      'async process(job: Job<Data>): Promise<void>',
    ),
    at: 'onceProcessor',
    says: ['Emails', 'Date'],
  },
  {
    what: 'a method whose result does not allow for undefined',
    program: method("@onceProcessor({ key: '{userId}' })", 'async process(job: Job<Data>): Promise<string>'),
    at: 'onceProcessor',
    says: [noResult],
  },
  {
    what: 'the same without options',
    program: method('@onceProcessor()', 'async process(job: Job<Data>): Promise<string>'),
    at: 'onceProcessor',
    says: [noResult],
  },
  {
    what: 'a method whose first parameter is no job',
    program: method("@onceProcessor({ key: 'k' })", 'async process(id: number): Promise<void>'),
    at: 'onceProcessor',
    says: ["'AnyJob' is not assignable to type 'number'"],
  },
  {
    what: 'a method that returns no promise',
    program: method("@onceProcessor({ key: 'k' })", 'process(job: Job<Data>): void'),
    at: 'onceProcessor',
    says: ["Type 'void' is not assignable to type 'Promise<unknown>'"],
  },
  {
    what: 'a misspelt option of a decorator',
    program: method(
      '@onceProcessor({ raiseIfLocked: true })',
      'async process(job: Job<Data>): Promise<void>',
    ),
    at: 'raiseIfLocked',
    says: ["'raiseIfLocked' does not exist in type 'OnceProcessorOptions<"],
  },
  {
    what: 'an option of a decorator that is a string',
    program: method("@onceProcessor({ ttl: '5s' })", 'async process(job: Job<Data>): Promise<void>'),
    at: 'ttl',
    says: ["Type 'string' is not assignable to type 'number'"],
  },
  {
    what: 'a placeholder of @once that the argument does not have',
    program: method("@once({ key: '{ur}' })", 'async send(feed: { url: string }): Promise<void>'),
    at: 'once',
    says: ["no field 'ur' in the first argument"],
  },
  {
    what: 'a method of @once whose result does not allow for undefined',
    program: method("@once({ key: '{0}' })", 'async send(id: number): Promise<string>'),
    at: 'once',
    says: [noResult],
  },
  {
    what: 'a misspelt option of @once',
    program: method("@once({ key: 'k', raiseIfLocked: true })", 'async send(id: number): Promise<void>'),
    at: 'raiseIfLocked',
    says: ["'raiseIfLocked' does not exist in type 'OnceOptions<", "'raiseIfLock'?"],
  },
];

export const MISTAKES_IN_CALLS: readonly Mistake[] = [...inOptions, ...inTemplates, ...inCallsOfOnce];
