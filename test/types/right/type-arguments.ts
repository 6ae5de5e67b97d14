/** Calls with type arguments. */

import { onceProcessor } from 'bullmq-once';

interface Data {
  readonly userId: number;
  readonly user: { readonly name: string };
}
type Name = 'welcome' | 'goodbye';

onceProcessor<Data>(async job => job.data.userId);
onceProcessor<Data>(async job => job.data.userId, { raiseIfLock: true });
onceProcessor<Data>(async job => job.data.userId, { key: 'welcome-{userId}' });
onceProcessor<Data>(async job => job.data.userId, { key: job => `welcome-${job.data.userId}` });
onceProcessor<Data, string>(async job => job.data.user.name, { key: 'welcome-{user.name}-{userId}' });
onceProcessor<Data, string, Name>(async job => job.name, { key: 'welcome-{userId}' });
onceProcessor<Data, string, Name, 'welcome'>(async job => job.name, { key: 'welcome' });
onceProcessor<any, string>(async job => job.name, { key: 'welcome' });
onceProcessor<Data>(async job => job.data.userId, { key: '{userId}', match: '{user.name}' });
onceProcessor<Data, string>(async job => job.data.user.name, { match: job => job.data.user.name });
