/** The page, its style and its script in a real browser. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { enterStep } from '../../../src/conformance/lines.ts';
import { Lock, type LockRecord, MemoryCache, once, onceProcessor } from '../../../src/index.ts';
import { openBrowser } from '../../support/browser.ts';
import { Bench } from '../../support/bullmq.ts';
import { deferred, until } from '../../support/index.ts';
import { withBoard } from '../served-board.ts';

describe('the page of the board', () => {
  let browser: Browser;
  let bench: Bench;
  before(async function () {
    // It may have to be installed.
    this.timeout(600_000);
    browser = await openBrowser();
  });
  after(() => browser.close());
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  /** Opens a page, and collects all that goes wrong on it. */
  async function openPage(url: string): Promise<{ page: Page; problems: string[] }> {
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on('console', message => message.type() === 'error' && problems.push(message.text()));
    page.on('pageerror', error => problems.push(String(error)));
    page.on('dialog', dialog => {
      problems.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    await page.goto(url);
    return { page, problems };
  }

  /** Starts a job that holds a key until it loses its lock. */
  async function holdUntilLost(key: string, ttl: number): Promise<{ job: Job; lost: Promise<unknown> }> {
    const lost = deferred<unknown>();
    const started = deferred();
    const processor = onceProcessor(
      async (_job: Job, _token, signal) => {
        signal?.addEventListener('abort', () => lost.resolve(signal.reason));
        started.resolve();
        await lost.promise;
      },
      { key, ttl },
    );
    await bench.worker(processor, { concurrency: 2 });
    const job = await bench.add({});
    await started.promise;
    return { job, lost: lost.promise };
  }

  it('shows a lock whose bar shrinks, and releases it by force once that is confirmed', async () => {
    const { job, lost } = await holdUntilLost('welcome-42', 6000);
    await withBoard({ queues: [bench.queue], allowForceRelease: true }, async url => {
      const { page, problems } = await openPage(url);
      const row = page.locator('#locks tr');
      await row.first().waitFor();
      const texts = await row.locator('td').allTextContents();
      const width = () => page.locator('.bar > i').evaluate(bar => Number.parseFloat(bar.style.width));
      const before = await width();
      await until(async () => (await width()) < before, 'the bar shrinks');
      const duplicate = await bench.add({});
      await bench.result(duplicate);
      await page.locator('#legend .skipped', { hasText: 'skipped 1' }).waitFor();

      const dialog = page.getByRole('dialog');
      await row.getByRole('button', { name: 'Force release' }).click();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      const still = await bench.holder('welcome-42');
      await row.getByRole('button', { name: 'Force release' }).click();
      await dialog.getByRole('button', { name: 'Force release' }).click();
      await page.locator('#no-locks').waitFor();

      const { queueName } = bench;
      expect(texts.slice(0, 3)).to.deep.equal([
        'welcome-42',
        `bull:${queueName}`,
        `job ${job.id} of ${queueName}`,
      ]);
      expect(still?.state).to.equal('running');
      expect(await lost).to.include({ code: 'ERR_LOCK_LOST', reason: 'revoked' });
      expect(problems).to.deep.equal([]);
      await page.close();
    });
    await bench.ended(job);
  });

  it('says why a job did not run, and folds the locks of work that was done', async () => {
    const first = await bench.hold({ dedupeFor: 60_000 });
    const job = await bench.add({});
    await bench.result(job);
    await first.finish();
    const { queueName, queue } = bench;
    await withBoard({ queues: [queue], jobUrl: '/queues/queue/{queue}/{id}' }, async url => {
      const { page, problems } = await openPage(url);
      const item = page.locator('#duplicates li');
      await item.getByText(`skipped: 'k' was held by job ${first.job.id} of ${queueName}`).waitFor();
      const link = item.getByRole('link', { name: `job ${job.id} of ${queueName}` });
      expect(await link.getAttribute('href')).to.equal(`/queues/queue/${queueName}/${job.id}`);
      await page.getByLabel('The id of a job').fill('4711');
      await page.getByText('No job 4711 is among the last thousand duplicates of a queue.').waitFor();
      await page.getByLabel('The id of a job').fill(String(job.id));
      await item.first().waitFor();

      const done = page.locator('#done tr');
      await page.getByRole('button', { name: 'Show 1 of work that was done' }).waitFor();
      expect(await done.isVisible()).to.equal(false);
      await page.getByRole('button', { name: 'Show 1 of work that was done' }).click();
      await done.waitFor();

      expect(problems).to.deep.equal([]);
      await page.close();
    });
  });

  it('shows a hostile key as text', async () => {
    const hostile = '<script>alert(1)</script><img src=x onerror=alert(2)>\u202e';
    const { finish } = await bench.hold({ key: () => hostile, ttl: 30_000 });
    await withBoard({ queues: [bench.queue] }, async url => {
      const { page, problems } = await openPage(url);
      await page.locator('#locks tr').first().waitFor();

      expect(await page.locator('#locks td.key').textContent()).to.equal(hostile);
      expect(await page.locator('#locks script, #locks img').count()).to.equal(0);
      expect(problems).to.deep.equal([]);
      await page.close();
    });
    await finish();
  });

  it('asks about the holder that it shows, and says so where another holds the key by then', async () => {
    const cache = new MemoryCache();
    const lock = (owner: string) => new Lock('k', { cache, owner }).acquire();
    const first = await lock('bull:emails:17@1790000000000');
    await withBoard({ caches: { memory: cache }, allowForceRelease: true }, async url => {
      const { page } = await openPage(url);
      const dialog = page.getByRole('dialog');
      await page.locator('#locks').getByRole('button', { name: 'Force release' }).click();
      const question = await dialog.locator('p').first().textContent();
      await first.release();
      const second = await lock('bull:emails:18@1790000000000');
      await dialog.getByRole('button', { name: 'Force release' }).click();
      await page.locator('#problem').waitFor();
      // It outlasts the next refresh.
      await page.waitForResponse(response => response.url().includes('api/locks'));
      const problem = await page.locator('#problem').textContent();

      expect(question).to.equal('Force release k, held by job 17 of emails?');
      expect(problem).to.equal("'k': the lock was not released: it is now held by job 18 of emails");
      expect(await second.release()).to.equal(true);
      await page.close();
    });
  });

  it('shows the locks of other sources beside the problem of one, and is no all-clear where none is held', async () => {
    const cache = new MemoryCache();
    const handle = await new Lock('k', { cache }).acquire();
    const silent = Object.assign(new MemoryCache(), {
      async *list() {
        yield await new Promise<LockRecord>(() => {});
      },
    });
    await withBoard({ caches: { memory: cache, silent } }, async url => {
      const { page, problems } = await openPage(url);
      await page.locator('#locks tr').first().waitFor();
      const place = await page.locator('#locks td.place').textContent();
      const problem = await page.locator('#problem').textContent();
      await handle.release();
      await page.locator('#summary', { hasText: '0 or more locks' }).waitFor();
      const isAllClear = await page.locator('#no-locks').isVisible();

      expect(place).to.equal('scope defaultin memory');
      expect(problem).to.equal('silent: its datastore did not answer');
      expect(isAllClear).to.equal(false);
      expect(problems).to.deep.equal([]);
      await page.close();
    });
  });

  it('shows that the result of work that was done is kept, and how large it is', async () => {
    const cache = new MemoryCache();
    await once(() => 'hunter2', { key: 'k', cache, dedupeFor: 60_000 })();
    await withBoard({ caches: { memory: cache } }, async url => {
      const { page, problems } = await openPage(url);
      await page.getByRole('button', { name: 'Show 1 of work that was done' }).click();
      await page.locator('#done tr').waitFor();
      const result = await page.locator('#done .result').textContent();
      const all = await page.content();

      expect(result).to.equal('result: 9 bytes kept');
      expect(all).to.not.include('hunter2');
      expect(problems).to.deep.equal([]);
      await page.close();
    });
  });

  it('shows each holder of a key beside its line, and finds it by the job that is next', async () => {
    const cache = new MemoryCache();
    const steps = [17, 18, 19].map(id =>
      enterStep({
        storedKey: 'once::1:default:k',
        owner: `bull:emails:${id}@1790000000000`,
        places: 2,
        line: 'all',
      }),
    );
    await cache.enter(steps);
    await withBoard({ caches: { memory: cache } }, async url => {
      const { page, problems } = await openPage(url);
      await page.locator('#locks tr').nth(1).waitFor();
      const holders = await page.locator('#locks td.holder').allTextContents();
      const line = await page.locator('#locks .line').first().textContent();
      await page.locator('#filter').fill('job 19');
      const found = await page.locator('#locks tr').count();

      expect(line).to.equal('2 hold it, 1 parked, next: job 19 of emails');
      expect(holders.map(text => text.replace(`${line}`, ''))).to.have.members([
        'job 17 of emails',
        'job 18 of emails',
      ]);
      expect(found).to.equal(2);
      expect(problems).to.deep.equal([]);
      await page.close();
    });
  });

  it('says that there are more locks than it shows, and turns pages', async () => {
    const cache = new MemoryCache();
    const steps = Array.from({ length: 1001 }, (_, i) => ({
      storedKey: `once::1:default:${i}`,
      token: `${i}`,
      owner: 'me',
      attempt: 0,
      ttl: 60_000,
    }));
    await cache.acquire(steps);
    await withBoard({ caches: { memory: cache } }, async url => {
      const { page, problems } = await openPage(url);
      await page.locator('#summary', { hasText: 'the first 1000 locks; there are more' }).waitFor();
      const rows = await page.locator('#locks tr').count();
      await page.locator('#next').click();
      await page.locator('#page', { hasText: 'page 2 of 10' }).waitFor();
      const second = await page.locator('#locks tr td.key').first().textContent();
      await page.locator('#previous').click();
      await page.locator('#page', { hasText: 'page 1 of 10' }).waitFor();

      expect([rows, second]).to.deep.equal([100, '100']);
      expect(await page.locator('#previous').isDisabled()).to.equal(true);
      expect(problems).to.deep.equal([]);
      await page.close();
    });
  });

  it('can be filtered, and fits a phone in the dark scheme', async () => {
    const cache = new MemoryCache();
    const keys = Array.from(
      { length: 12 },
      (_, i) => `a-key-that-is-rather-long-and-has-no-space-in-it-${i}`,
    );
    const handles = await Promise.all(keys.map(key => new Lock(key, { cache }).acquire()));
    await withBoard({ caches: { memory: cache } }, async url => {
      const page = await browser.newPage({ viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
      await page.goto(url);
      await page.locator('#locks tr').first().waitFor();
      const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
      const back = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      const buttons = await page.locator('#locks button').count();
      await page.locator('#filter').fill('in-it-11');
      await until(async () => (await page.locator('#locks tr').count()) === 1);
      await page.locator('#filter').fill('in-it-12');
      await page.locator('#no-locks').waitFor();
      const noMatch = await page.locator('#no-locks').textContent();
      await page.locator('#filter').fill('');
      await page.locator('#state').selectOption('done');
      await page.locator('#no-locks').waitFor();
      await page.locator('#state').selectOption('running');
      await until(async () => (await page.locator('#locks tr').count()) === 12);

      expect(overflow).to.be.at.most(0);
      expect(back).to.equal('rgb(25, 25, 24)');
      expect(buttons).to.equal(0);
      expect(noMatch).to.equal('No lock matches the search.');
      await page.close();
    });
    for (const handle of handles) await handle.release();
  });
});
