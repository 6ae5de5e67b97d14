/**
 * NestJS: a decorator over `process` guards its jobs. A function of the instance returns its options, so that they can come from
 * what NestJS has injected. It is called at the first job. `process` gets the signal because it declares three parameters.
 *
 * Run it with this folder's tsconfig: `npx tsx --tsconfig examples/nestjs/tsconfig.json examples/nestjs/main.ts`
 */

import 'reflect-metadata';
import { BullModule, getQueueToken, OnWorkerEvent, Processor, WorkerHost } from '@nestjs/bullmq';
import { Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { Job, Queue } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };

/** In your application this is the ConfigService of @nestjs/config. */
@Injectable()
class Config {
  readonly #values = { INVOICE_LOCK_TTL: 60_000 };

  get(name: 'INVOICE_LOCK_TTL'): number {
    return this.#values[name];
  }
}

@Processor('nest-invoices', { concurrency: 10 })
class Invoices extends WorkerHost {
  readonly ended: string[] = [];

  @Inject(Config)
  private readonly config!: Config;

  @onceProcessor((invoices: Invoices) => ({
    key: 'invoice-{id}',
    ttl: invoices.config.get('INVOICE_LOCK_TTL'),
  }))
  override async process(
    job: Job<{ id: number }>,
    _token?: string,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    await new Promise(resolve => setTimeout(resolve, 300));
    return `invoice ${job.data.id} sent by ${this.constructor.name}${signal?.aborted ? ', late' : ''}`;
  }

  @OnWorkerEvent('completed')
  onCompleted(_job: Job, result: string | undefined): void {
    this.ended.push(result ?? 'skipped');
  }
}

@Module({
  imports: [BullModule.forRoot({ connection }), BullModule.registerQueue({ name: 'nest-invoices' })],
  providers: [Config, Invoices],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error'] });
const queue = app.get<Queue>(getQueueToken('nest-invoices'));
await queue.addBulk([1, 1, 2].map(id => ({ name: 'send', data: { id } })));

const { ended } = app.get(Invoices);
while (ended.length < 3) await new Promise(resolve => setTimeout(resolve, 50));
console.log(ended.toSorted().join('\n'));
await app.close();
