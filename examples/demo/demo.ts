/**
 * The guard on real input: several producers add a job for every file of a folder, and several worker processes hash the files.
 * One of them is killed half-way.
 *
 *     npm run demo -- [--embedded] [folder]
 *
 * It ends with a table, and with status 0 if no runs overlapped and no file was lost.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bullmqOn, findStore, type StoreAddress } from './store.ts';

const PRODUCERS = 4;
const WORKERS = 3;
const PACE_MS = 25;

interface Note {
  readonly what: 'start' | 'end';
  readonly path: string;
  readonly job: string;
  readonly at: number;
  readonly digest?: string;
}

/** The time in which a worker hashed a file. */
interface Run {
  readonly path: string;
  readonly job: string;
  readonly from: number;
  readonly to: number;
  readonly digest: string | undefined;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { embedded: { type: 'boolean', default: false } },
});
const folder = resolve(positionals[0] ?? fileURLToPath(new URL('../..', import.meta.url)));
const files = filesOf(folder);
if (files.length === 0) throw new Error(`there is no file in ${folder}`);
const store = await findStore(values.embedded);
const { Queue, connection } = bullmqOn(store);
const logs = mkdtempSync(join(tmpdir(), 'bullmq-once-demo-'));
const queueName = `demo-${process.pid}`;
const queue = new Queue(queueName, { connection });
console.log(
  `${files.length} files of ${folder}, ${PRODUCERS} producers, ${WORKERS} workers, on ${store.source}`,
);

const jobs = files.length * PRODUCERS;
await Promise.all(Array.from({ length: PRODUCERS }, produce));
const workers = Array.from({ length: WORKERS }, (_, i) => startWorker(i));
const victim = workers[0] as ChildProcess;
let killedAt = Number.POSITIVE_INFINITY;

for (;;) {
  const { completed = 0, failed = 0 } = await queue.getJobCounts('completed', 'failed');
  showProgress(completed + failed);
  if (killedAt === Number.POSITIVE_INFINITY && completed >= jobs / 2) await killVictim();
  if (completed + failed === jobs) break;
  await delay(50);
}
process.stdout.write('\n');

for (const worker of workers) if (worker !== victim) worker.send('close');
await Promise.all(workers.map(worker => worker.exitCode ?? worker.signalCode ?? once(worker, 'exit')));
const { failed = 0 } = await queue.getJobCounts('failed');
await queue.obliterate({ force: true });
await queue.close();
await store.stop();

const ok = report(
  workers.flatMap((worker, i) => runsOf(i, worker === victim ? killedAt : Number.POSITIVE_INFINITY)),
);
rmSync(logs, { recursive: true });
process.exitCode = ok ? 0 : 1;

/** Adds a job for every file. The producers do not know each other. */
async function produce(): Promise<void> {
  const own = new Queue(queueName, { connection });
  for (const path of files) await own.add('digest', { path });
  await own.close();
}

function startWorker(number: number): ChildProcess {
  const { on, url } = store;
  const address: StoreAddress = { on, url };
  const argument = { address, queueName, folder, log: logOf(number), paceMs: PACE_MS };
  return fork(fileURLToPath(new URL('worker.ts', import.meta.url)), [JSON.stringify(argument)], {
    execArgv: ['--import', 'tsx'],
  });
}

/** Kills it in the middle of a job, if it has one: it is suspended, and killed if a job of it has started and not ended. */
async function killVictim(): Promise<void> {
  while (victim.exitCode === null && victim.signalCode === null) {
    const started = await Promise.race([once(victim, 'message'), delay(2000)]);
    victim.kill('SIGSTOP');
    const isAtWork = runsOf(0, Number.POSITIVE_INFINITY).some(({ digest }) => digest === undefined);
    if (started && !isAtWork) {
      victim.kill('SIGCONT');
      continue;
    }
    victim.kill('SIGKILL');
    await once(victim, 'exit');
  }
  killedAt = Number(process.hrtime.bigint()) / 1e6;
  process.stdout.write(`\nkilled worker ${victim.pid} in the middle of its jobs\n`);
}

function showProgress(ended: number): void {
  const done = Math.round((ended / jobs) * 40);
  const line = `[${'#'.repeat(done)}${'.'.repeat(40 - done)}] ${ended} of ${jobs} jobs`;
  if (process.stdout.isTTY) process.stdout.write(`\r${line}`);
  else if (ended === jobs) process.stdout.write(line);
}

/** The runs of a worker, by its own notes. What a killed worker started and did not end, it did until it was dead. */
function runsOf(number: number, deadAt: number): Run[] {
  const started = new Map<string, Note>();
  const runs: Run[] = [];
  for (const line of readFileSync(logOf(number), { encoding: 'utf8', flag: 'a+' })
    .split('\n')
    .filter(Boolean)) {
    const note = JSON.parse(line) as Note;
    const { path, job, at, digest } = note;
    if (note.what === 'start') started.set(job, note);
    else {
      runs.push({ path, job, from: started.get(job)?.at ?? at, to: at, digest });
      started.delete(job);
    }
  }
  for (const { path, job, at } of started.values())
    runs.push({ path, job, from: at, to: deadAt, digest: undefined });
  return runs;
}

function report(runs: readonly Run[]): boolean {
  const ended = runs.filter(({ digest }) => digest !== undefined);
  const crashed = runs.filter(({ digest }) => digest === undefined);
  const digested = new Set(ended.map(({ path }) => path));
  const rows = {
    files: files.length,
    jobs,
    run: ended.length,
    skipped: jobs - ended.length - failed,
    failed,
    'reclaimed after the crash': crashed.filter(({ job, to }) =>
      ended.some(run => run.job === job && run.from >= to),
    ).length,
    overlaps: countOverlaps(runs),
    lost: files.filter(path => !digested.has(path)).length,
  };
  for (const [name, count] of Object.entries(rows))
    console.log(`  ${name.padEnd(28)}${String(count).padStart(8)}`);
  return rows.overlaps === 0 && rows.lost === 0 && failed === 0;
}

/** How many runs started before an earlier one of the same file had ended. */
function countOverlaps(runs: readonly Run[]): number {
  const latestEnd = new Map<string, number>();
  let overlaps = 0;
  for (const { path, from, to } of [...runs].sort((a, b) => a.from - b.from)) {
    const latest = latestEnd.get(path) ?? Number.NEGATIVE_INFINITY;
    if (from < latest) overlaps++;
    latestEnd.set(path, Math.max(latest, to));
  }
  return overlaps;
}

function logOf(number: number): string {
  return join(logs, `worker-${number}.jsonl`);
}

function filesOf(root: string): string[] {
  const entries = readdirSync(root, { withFileTypes: true, recursive: true });
  return entries
    .filter(entry => entry.isFile())
    .map(entry => relative(root, join(entry.parentPath, entry.name)))
    .filter(path => !/(^|[\\/])(node_modules|\.git|dist)[\\/]/.test(path));
}
