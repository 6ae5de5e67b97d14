/** Plays histories in a process of its own, and sends what it finds. It is started by `players.ts`. */

import { readFileSync } from 'node:fs';
import { Library, type LibraryTexts } from './library.ts';
import type { Assignment, Report } from './players.ts';
import { planOf } from './workload.ts';
import { play } from './world.ts';

const [library = '', assignment = ''] = process.argv.slice(2);
const texts: LibraryTexts = JSON.parse(readFileSync(library, 'utf8'));
const { from, count, every, stopsAtFirst }: Assignment = JSON.parse(assignment);

async function playAll(): Promise<void> {
  const loaded = new Library(texts);
  let played = 0;
  // Who has started it may be gone.
  for (let seed = from; seed < from + count && process.connected; seed += every) {
    const { violations } = await play(planOf(seed), loaded);
    played++;
    if (violations.length === 0) continue;
    send({ seed, violations });
    if (stopsAtFirst) break;
  }
  const { user, system } = process.cpuUsage();
  send({ played, ms: (user + system) / 1000 });
  if (process.connected) process.disconnect();
}

function send(report: Report): void {
  process.send?.(report);
}

void playAll();
