/** A processor of NestJS. `examples/nestjs` is one with NestJS' own decorators, which are legacy ones. */

import { WorkerHost } from '@nestjs/bullmq';
import type { Job } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

export class Emails extends WorkerHost {
  readonly ttl: number = 60_000;

  @onceProcessor((emails: Emails) => ({ key: 'welcome-{userId}', ttl: emails.ttl }))
  override async process(
    job: Job<{ userId: number }>,
    _token?: string,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    return signal?.aborted ? undefined : job.id;
  }
}
