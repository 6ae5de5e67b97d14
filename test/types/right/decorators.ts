/** Methods that are decorated, by either system. */

import type { Job } from 'bullmq';
import { once, onceProcessor } from 'bullmq-once';

interface Data {
  readonly userId: number;
}

export class Emails {
  private readonly ttl = 60_000;

  @onceProcessor()
  async withoutOptions(job: Job<Data>): Promise<string | undefined> {
    return job.id;
  }

  @onceProcessor({ key: 'welcome-{userId}' })
  async withOptions(job: Job<Data>, token?: string, signal?: AbortSignal): Promise<void> {
    await Promise.all([job, token, signal]);
  }

  @onceProcessor((emails: Emails) => ({ key: 'welcome-{userId}', ttl: emails.ttl }))
  async withOptionsOfTheInstance(job: Job<Data>): Promise<unknown> {
    return job.data.userId;
  }

  @onceProcessor((emails: Emails) => ({ key: 'welcome', match: '{userId}', ttl: emails.ttl }))
  async withAMatch(job: Job<Data>): Promise<unknown> {
    return job.data.userId;
  }

  @onceProcessor({ key: 'welcome-{whatever}', whenLocked: (job, holder) => `${job.id} ${holder.owner}` })
  async ofAnyData(job: Job): Promise<any> {
    return job.data.whatever;
  }

  @onceProcessor({ key: String(process.env.KEY) })
  async withATemplateThatIsNotKnown(): Promise<void> {}

  @once({ key: 'invoice-{0}-{1.id}', match: '{1.id}' })
  async send(id: number, customer: { readonly id: string }): Promise<string | undefined> {
    return `${id} ${customer.id}`;
  }

  @once({ key: 'feed-{url}' })
  static async refresh(feed: { readonly url: string }): Promise<void> {
    await fetch(feed.url);
  }
}
