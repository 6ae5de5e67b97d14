import { expect } from 'chai';
import { Lock, MemoryCache } from '../../src/index.ts';
import { postForceRelease, SERVERS, sendAsIs, withBoard } from './served-board.ts';

for (const [name, host] of Object.entries(SERVERS)) {
  describe(`the board behind ${name}`, () => {
    it('shows its page, and releases a lock by force when that page asks for it', async () => {
      const cache = new MemoryCache();
      const handle = await new Lock('k', { cache, owner: 'me' }).acquire();
      await withBoard(
        { caches: { memory: cache }, allowForceRelease: true },
        async url => {
          const page = await fetch(url);
          const redirected = await fetch(url.slice(0, -1));
          const [script, style] = await Promise.all([fetch(`${url}board.js`), fetch(`${url}board.css`)]);
          const shown: any = await (await fetch(`${url}api/locks`)).json();
          const { source, storedKey, fence } = shown.locks[0];
          const { origin } = new URL(url);
          const released = await postForceRelease(url, { source, storedKey, fence }, { origin });
          const again = await postForceRelease(url, { source, storedKey, fence }, { origin });

          expect(page.headers.get('content-type')).to.equal('text/html; charset=utf-8');
          expect(redirected.url).to.equal(url);
          expect(script.headers.get('content-type')).to.include('text/javascript');
          expect(style.headers.get('content-type')).to.include('text/css');
          expect(shown.locks[0]).to.include({ key: 'k', owner: 'me', state: 'running', scope: 'default' });
          expect([released.status, await released.json()]).to.deep.equal([200, { released: true }]);
          expect(again.status).to.equal(409);
          expect((await new Lock('k', { cache }).tryAcquire())?.held).to.equal(true);
        },
        host,
      );
      expect(await handle.release()).to.equal(false);
    });
  });
}

describe('the board', () => {
  it('lets its page load and send nothing but what is its own', async () => {
    const title = '<script>alert(1)</script>';
    await withBoard({ caches: { memory: new MemoryCache() }, title }, async url => {
      const page = await fetch(url);
      const html = await page.text();

      const policy = page.headers.get('content-security-policy');
      expect(policy).to.include("default-src 'none'").and.include("script-src 'self'");
      expect(policy).not.to.include('unsafe');
      expect(html).to.include('<h1>&#60;script&#62;alert(1)&#60;/script&#62;</h1>');
      expect(html.match(/<script/g)).to.have.length(1);
    });
  });

  it('protects each of its answers by headers, refusals included', async () => {
    const options = { caches: { memory: new MemoryCache() }, basePath: '/locks' };
    await withBoard(options, async url => {
      const json = { 'content-type': 'application/json' };
      const release = { path: '/locks/api/force-release', method: 'POST' };
      const evil = { host: 'evil.example' };
      const requests: [status: number, request: Parameters<typeof sendAsIs>[1]][] = [
        [200, { path: '/locks/' }],
        [200, { path: '/locks/board.js' }],
        [200, { path: '/locks/board.css' }],
        [200, { path: '/locks/api/locks' }],
        [302, { path: '/locks' }],
        [403, { ...release, headers: json, body: '{}' }],
        [403, { path: '/locks/api/locks', headers: evil }],
        [404, { path: '/elsewhere' }],
        [405, { path: '/locks/', method: 'DELETE' }],
        [405, { path: '/locks/', method: 'TRACE' }],
        [405, { path: '/locks/api/force-release' }],
      ];
      const answers = await Promise.all(requests.map(([, request]) => sendAsIs(url, request)));

      expect(answers.map(({ status }) => status)).to.deep.equal(requests.map(([status]) => status));
      for (const { headers } of answers) {
        expect(headers).to.include({
          'cache-control': 'no-store',
          'referrer-policy': 'same-origin',
          'x-content-type-options': 'nosniff',
          'x-frame-options': 'DENY',
        });
        expect(headers['content-security-policy']).to.include("default-src 'none'");
        expect(headers['content-security-policy']).to.include("frame-ancestors 'none'");
      }
    });
  });
});
