/**
 * NestJS: a decorator over `process` guards its jobs. A function of the instance returns its options, so that they can come from
 * what NestJS has injected. It is called at the first job. `process` gets the signal because it declares three parameters. Two processors
 * share a scope: an invoice is not sent and reminded of at once.
 *
 * Run it with this folder's tsconfig: `npx tsx --tsconfig examples/nestjs/tsconfig.json examples/nestjs/main.ts`
 */

import 'reflect-metadata';
import { BullModule, getQueueToken, InjectQueue, OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Job, Queue } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };

/** In your application this is the ConfigService of @nestjs/config. */
@Injectable()
class Config {
  readonly #values = { LOCK_TTL: 60_000 };

  get(name: 'LOCK_TTL'): number {
    return this.#values[name];
  }
}

const ended: string[] = [];

@Processor('nest-invoices', { concurrency: 10 })
class Invoices extends WorkerHost {
  @Inject(Config)
  private readonly config!: Config;

  @InjectQueue('nest-reminders')
  private readonly reminders!: Queue;

  @onceProcessor((invoices: Invoices) => ({
    key: 'invoice-{id}',
    scope: 'invoices',
    ttl: invoices.config.get('LOCK_TTL'),
  }))
  override async process(
    job: Job<{ id: number }>,
    _token?: string,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    await this.reminders.add('remind', { id: job.data.id });
    await new Promise(resolve => setTimeout(resolve, 300));
    return `invoice ${job.data.id} sent by ${this.constructor.name}${signal?.aborted ? ', late' : ''}`;
  }

  @OnWorkerEvent('completed')
  onCompleted(_job: Job, result: string | null): void {
    ended.push(result ?? 'skipped');
  }

  @OnWorkerEvent('failed')
  onFailed(_job: Job, error: Error): void {
    ended.push(error.message);
  }
}

@Processor('nest-reminders', { concurrency: 10 })
class Reminders extends WorkerHost {
  // Of the same scope: it comes again while the invoice is being sent.
  @onceProcessor({ key: 'invoice-{id}', scope: 'invoices', whenLocked: { delay: 200 } })
  override async process(job: Job<{ id: number }>): Promise<string | undefined> {
    return `reminded of invoice ${job.data.id}`;
  }

  @OnWorkerEvent('completed')
  onCompleted(_job: Job, result: string | null): void {
    ended.push(`${result}`);
  }
}

@Module({
  imports: [
    BullModule.forRoot({ connection }),
    BullModule.registerQueue({ name: 'nest-invoices' }, { name: 'nest-reminders' }),
  ],
  providers: [Config, Invoices, Reminders],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error'] });
const invoices = app.get<Queue>(getQueueToken('nest-invoices'));
await invoices.addBulk([1, 1, 2].map(id => ({ name: 'send', data: { id } })));

while (ended.length < 5) await new Promise(resolve => setTimeout(resolve, 50));
console.log(ended.join('\n'));
await app.close();
