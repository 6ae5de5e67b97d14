import { expect } from 'chai';
import { Lock, MemoryCache } from '../../src/index.ts';
import { postForceRelease, SERVERS, withBoard } from './served-board.ts';

for (const [name, serve] of Object.entries(SERVERS)) {
  describe(`the board behind ${name}`, () => {
    it('shows its page, and releases a lock by force when that page asks for it', async () => {
      const cache = new MemoryCache();
      const handle = await new Lock('k', { cache, owner: 'me' }).acquire();
      await withBoard(
        { caches: { memory: cache } },
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
        serve,
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
      expect(page.headers.get('x-content-type-options')).to.equal('nosniff');
      expect(page.headers.get('cache-control')).to.equal('no-store');
      expect(html).to.include('<h1>&#60;script&#62;alert(1)&#60;/script&#62;</h1>');
      expect(html.match(/<script/g)).to.have.length(1);
    });
  });
});
