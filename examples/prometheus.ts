/** Locks in Prometheus: the meter of a worker that has bullmq-otel counts and measures them. There is nothing to configure. */

import { metrics } from '@opentelemetry/api';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';
import { BullMQOtel } from 'bullmq-otel';

const port = Number(process.env.METRICS_PORT ?? 9464);
const exporter = new PrometheusExporter({ port, host: '127.0.0.1' });
metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const telemetry = new BullMQOtel({ enableMetrics: true });
const queue = new Queue('feeds', { connection });
await queue.obliterate({ force: true });
const refresh = onceProcessor(() => new Promise(resolve => setTimeout(resolve, 300)), { key: 'feed-{url}' });
const worker = new Worker('feeds', refresh, { connection, concurrency: 10, telemetry });

await queue.addBulk(['a', 'a', 'b'].map(url => ({ name: 'refresh', data: { url } })));
while ((await queue.getCompletedCount()) < 3) await new Promise(resolve => setTimeout(resolve, 50));
const scraped = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
console.log(scraped.match(/^bullmq_once_(locks_acquired|duplicates).*$/gm)?.join('\n'));

await worker.close();
await queue.close();
await exporter.shutdown();
