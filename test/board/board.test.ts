/** `bullmq-once/board`, behind each server that it is for, and in a real browser. */

import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { serve as serveHono } from '@hono/node-server';
import type { Job } from 'bullmq';
import { expect } from 'chai';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import type { Browser, Page } from 'playwright-core';
import { type Board, type BoardOptions, createBoard } from '../../src/board.ts';
import { Lock, MemoryCache, onceProcessor } from '../../src/index.ts';
import { openBrowser } from '../support/browser.ts';
import { Bench } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

interface Served {
  /** Where the page is, with a slash at its end. */
  readonly url: string;
  close(): unknown;
}

const listening = async (server: Server, path: string): Promise<Served> => {
  if (!server.listening) await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
};

const SERVERS: Record<string, (board: Board) => Promise<Served>> = {
  'node:http': board => listening(createServer(board.node).listen(0, '127.0.0.1'), '/'),
  Express: board => {
    const app = express();
    app.use('/admin/locks', board.node);
    return listening(app.listen(0, '127.0.0.1'), '/admin/locks/');
  },
  'Express with a parser of bodies before it': board => {
    const app = express();
    app.use(express.json());
    app.use('/locks', board.node);
    return listening(app.listen(0, '127.0.0.1'), '/locks/');
  },
  Fastify: async board => {
    const app = fastify();
    await app.register(async scope => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
      scope.all('/locks*', (request, reply) => {
        reply.hijack();
        return board.node(request.raw, reply.raw);
      });
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    const served = await listening(app.server, '/locks/');
    return { ...served, close: () => app.close() };
  },
  Hono: board => {
    const app = new Hono();
    app.all('/locks/*', c => board.fetch(c.req.raw));
    app.all('/locks', c => board.fetch(c.req.raw));
    return listening(serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server, '/locks/');
  },
};

async function withBoard(
  options: BoardOptions,
  use: (url: string, board: Board) => Promise<void>,
  server = SERVERS['node:http'] as (board: Board) => Promise<Served>,
): Promise<void> {
  const board = createBoard(options);
  const served = await server(board);
  try {
    await use(served.url, board);
  } finally {
    await served.close();
    board.close();
  }
}

const jsonOf = async (answer: Promise<Response>): Promise<any> => (await answer).json();
const post = (url: string, body: unknown, headers: Record<string, string>) =>
  fetch(`${url}api/release`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

for (const [name, server] of Object.entries(SERVERS)) {
  describe(`the board behind ${name}`, () => {
    it('shows its page, and lets go of a lock when that very page asks for it', async () => {
      const cache = new MemoryCache();
      const lock = await new Lock('k', { cache, owner: 'me' }).acquire();
      await withBoard(
        { caches: { memory: cache } },
        async url => {
          const page = await fetch(url);
          const redirected = await fetch(url.slice(0, -1));
          const [script, style] = await Promise.all([fetch(`${url}board.js`), fetch(`${url}board.css`)]);
          const shown = await jsonOf(fetch(`${url}api/locks`));
          const { source, storedKey, fence } = shown.locks[0];
          const { origin } = new URL(url);
          const released = await post(url, { source, storedKey, fence }, { origin });
          const again = await post(url, { source, storedKey, fence }, { origin });

          expect(page.headers.get('content-type')).to.equal('text/html; charset=utf-8');
          expect(redirected.url).to.equal(url);
          expect(script.headers.get('content-type')).to.include('text/javascript');
          expect(style.headers.get('content-type')).to.include('text/css');
          expect(shown.locks[0]).to.include({ key: 'k', owner: 'me', state: 'running', scope: 'default' });
          expect([released.status, await released.json()]).to.deep.equal([200, { released: true }]);
          expect(again.status).to.equal(409);
          expect(await new Lock('k', { cache }).tryAcquire()).to.equal(true);
        },
        server,
      );
      expect(await lock.release()).to.equal(false);
    });
  });
}

describe('the board', () => {
  it('refuses a release that another page asks for, that is stale, or that makes no sense', async () => {
    const cache = new MemoryCache();
    const lock = await new Lock('k', { cache }).acquire();
    const asked = { source: 'memory', storedKey: 'once:1:default:k', fence: lock.fence };
    await withBoard({ caches: { memory: cache } }, async url => {
      const { origin } = new URL(url);
      const answers = await Promise.all([
        post(url, asked, {}),
        post(url, asked, { origin: 'https://evil.example' }),
        post(url, asked, { origin: 'null' }),
        post(url, asked, { origin, 'sec-fetch-site': 'cross-site' }),
        post(url, asked, { origin, 'sec-fetch-site': 'same-site' }),
        post(url, { ...asked, fence: 1 }, { origin }),
        post(url, { ...asked, storedKey: 'once:1:default:other' }, { origin }),
        post(url, { ...asked, source: 'elsewhere' }, { origin }),
        post(url, 'nonsense', { origin }),
        fetch(`${url}api/release`),
        fetch(url, { method: 'DELETE' }),
      ]);

      expect(answers.map(({ status }) => status)).to.deep.equal([
        403, 403, 403, 403, 403, 409, 409, 400, 400, 405, 405,
      ]);
    });
    expect(lock.held).to.equal(true);
    expect(await lock.release()).to.equal(true);
  });

  it('can be read-only', async () => {
    const cache = new MemoryCache();
    const lock = await new Lock('k', { cache }).acquire();
    await withBoard({ caches: { memory: cache }, readOnly: true }, async url => {
      const asked = { source: 'memory', storedKey: 'once:1:default:k', fence: lock.fence };

      expect((await post(url, asked, { origin: new URL(url).origin })).status).to.equal(403);
      expect((await jsonOf(fetch(`${url}api/locks`))).readOnly).to.equal(true);
    });
    expect(await lock.release()).to.equal(true);
  });

  it('allows nothing that does not come from itself', async () => {
    await withBoard(
      { caches: { memory: new MemoryCache() }, title: '<script>alert(1)</script>' },
      async url => {
        const page = await fetch(url);
        const html = await page.text();

        const policy = page.headers.get('content-security-policy');
        expect(policy).to.include("default-src 'none'").and.include("script-src 'self'");
        expect(policy).not.to.include('unsafe');
        expect(page.headers.get('x-content-type-options')).to.equal('nosniff');
        expect(page.headers.get('cache-control')).to.equal('no-store');
        expect(html).to.include('<h1>&#60;script&#62;alert(1)&#60;/script&#62;</h1>');
        expect(html.match(/<script/g)).to.have.length(1);
      },
    );
  });

  it('counts duplicates of this process, and those it is told of, until it is closed', async () => {
    const board = createBoard({ caches: { memory: new MemoryCache() } });
    const skipped = channel('bullmq-once:skipped');
    const countsOf = async () =>
      (await jsonOf(board.fetch(new Request('http://localhost/api/locks')))).fates.at(-1);

    const before = skipped.hasSubscribers;
    skipped.publish({ type: 'skipped' });
    board.record({ type: 'kept' });
    board.record({ type: 'acquired' });
    const counts = await countsOf();
    board.close();

    expect(before).to.equal(true);
    expect(counts).to.include({ skipped: 1, kept: 1, raised: 0, retried: 0 });
    expect(skipped.hasSubscribers).to.equal(false);
  });

  it('survives what no page would send', async () => {
    await withBoard({ caches: { memory: new MemoryCache() } }, async url => {
      const { port } = new URL(url);
      const say = async (text: string, hangUp: boolean) => {
        const socket = connect(Number(port), '127.0.0.1');
        let answer = '';
        socket.on('data', data => {
          answer += data;
        });
        socket.write(text);
        if (hangUp) setTimeout(() => socket.destroy(), 50);
        else await until(() => answer.includes('\r\n'));
        socket.destroy();
        return answer.split('\r\n')[0];
      };

      const traced = await say('TRACE / HTTP/1.1\r\nHost: a\r\n\r\n', false);
      const elsewhere = await say('GET http://evil.example/x/ HTTP/1.1\r\nHost: a\r\n\r\n', false);
      await say('POST /api/release HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{', true);
      const huge = await fetch(`${url}api/release`, {
        method: 'POST',
        headers: { origin: new URL(url).origin },
        body: 'x'.repeat(1_000_000),
      }).catch(() => ({ status: 400 }));

      expect([traced, elsewhere]).to.deep.equal(['HTTP/1.1 400 Bad Request', 'HTTP/1.1 200 OK']);
      expect(huge.status).to.equal(400);
      expect((await fetch(url)).status).to.equal(200);
    });
  });

  it('shows what it can where a cache fails, and says so', async () => {
    const cache = new MemoryCache();
    const lock = await new Lock('k', { cache }).acquire();
    const store = { get: () => undefined, set: () => {}, delete: () => {} };
    await withBoard({ caches: { memory: cache, store } }, async url => {
      const shown = await jsonOf(fetch(`${url}api/locks`));

      expect(shown.locks).to.have.length(1);
      expect(shown.problems).to.deep.equal([
        "store: locks: this cache can't list its locks: it has no method 'list'",
      ]);
    });
    await lock.release();
  });

  it('refuses options that make no sense', () => {
    expect(() => createBoard({})).to.throw(TypeError, "give it 'queues' or 'caches'");
    expect(() => createBoard({ caches: { a: {} as never } })).to.throw(TypeError);
    expect(() => createBoard({ caches: { a: new MemoryCache() }, readOnly: 1 as never })).to.throw(
      TypeError,
      "option 'readOnly' must be true or false, not 1",
    );
  });
});

describe('the board in a browser', () => {
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

  /** A page on which nothing goes wrong. */
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

  /** A worker whose jobs run until they are told to end, or their lock is lost. */
  async function holding(key: string, ttl: number) {
    const lost = deferred<unknown>();
    const started = deferred();
    const gate = deferred();
    const processor = onceProcessor(
      async (_job: Job, _token, signal) => {
        signal?.addEventListener('abort', () => {
          lost.resolve(signal.reason);
          gate.resolve();
        });
        started.resolve();
        await gate.promise;
      },
      { key: () => key, ttl },
    );
    await bench.worker(processor, { concurrency: 2 });
    const job = await bench.add({});
    await started.promise;
    return { job, gate, lost: lost.promise };
  }

  it('shows a lock that a worker holds; its bar moves; a release lets it go, and its job is told', async () => {
    const { job, lost } = await holding('welcome-42', 6000);
    await withBoard({ queues: [bench.queue] }, async url => {
      const { page, problems } = await openPage(url);
      const row = page.locator('#locks tr');
      await row.first().waitFor();
      const texts = await row.locator('td').allTextContents();
      const width = () => page.locator('.bar > i').evaluate(bar => Number.parseFloat(bar.style.width));
      const before = await width();
      await until(async () => (await width()) < before, 'the bar moves');
      const duplicate = await bench.add({});
      await bench.result(duplicate);
      await page.locator('#legend .skipped', { hasText: 'skipped 1' }).waitFor();

      await row.getByRole('button', { name: 'Let go' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
      const still = await bench.holder('welcome-42');
      await row.getByRole('button', { name: 'Let go' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Let go' }).click();
      await page.locator('#nothing').waitFor();

      expect(texts.slice(0, 3)).to.deep.equal(['welcome-42', `bull:${bench.queueName}`, `job ${job.id}`]);
      expect(still?.state).to.equal('running');
      expect(await lost).to.include({ code: 'ERR_LOCK_LOST', why: 'taken-over' });
      expect(problems).to.deep.equal([]);
      await page.close();
    });
    await bench.ended(job);
  });

  it('keeps a hostile key text', async () => {
    const hostile = '<script>alert(1)</script><img src=x onerror=alert(2)>\u202e';
    const { job, gate } = await holding(hostile, 30_000);
    await withBoard({ queues: [bench.queue] }, async url => {
      const { page, problems } = await openPage(url);
      await page.locator('#locks tr').first().waitFor();

      expect(await page.locator('#locks td.key').textContent()).to.equal(hostile);
      expect(await page.locator('#locks script, #locks img').count()).to.equal(0);
      expect(problems).to.deep.equal([]);
      await page.close();
    });
    gate.resolve();
    await bench.ended(job);
  });

  it('can be filtered, and fits a phone, in the dark', async () => {
    const cache = new MemoryCache();
    const names = Array.from(
      { length: 12 },
      (_, i) => `a-key-that-is-rather-long-and-has-no-space-in-it-${i}`,
    );
    const held = await Promise.all(names.map(name => new Lock(name, { cache }).acquire()));
    await withBoard({ caches: { memory: cache }, readOnly: true }, async url => {
      const page = await browser.newPage({ viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
      await page.goto(url);
      await page.locator('#locks tr').first().waitFor();
      const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
      const back = await page.evaluate('getComputedStyle(document.body).backgroundColor');
      const buttons = await page.locator('#locks button').count();
      await page.locator('#filter').fill('in-it-11');
      await until(async () => (await page.locator('#locks tr').count()) === 1);

      expect(overflow).to.be.at.most(0);
      expect(back).to.equal('rgb(25, 25, 24)');
      expect(buttons).to.equal(0);
      await page.close();
    });
    for (const lock of held) await lock.release();
  });
});
