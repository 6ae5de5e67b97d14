import { expect } from 'chai';
import { Lock, MemoryCache } from '../../src/index.ts';
import { SERVERS, sendAsIs, withBoard } from './served-board.ts';

/** Paths that a proxy takes for others than `api/force-release`, after the path of the mount. */
const DISGUISED = [
  '//api/force-release',
  '/x/api/force-release',
  '/api//force-release',
  '/API/force-release',
  '/api/force-release/',
  '/api/force%2Drelease',
  '/api/force-release;x',
];
/** These too, where no `Request` has tidied them before the board sees them. */
const SENT_AS_THEY_ARE = [
  '/api\\force-release',
  '/x/../api/force-release',
  '/./api/force-release',
  '/%2e/api/force-release',
];

for (const [name, host] of Object.entries(SERVERS)) {
  describe(`the paths of the board behind ${name}`, () => {
    it('are matched exactly, so that no rule of a proxy is passed', async () => {
      const cache = new MemoryCache();
      const handle = await new Lock('k', { cache }).acquire();
      const storedKey = 'once::1:default:k';
      await withBoard(
        { caches: { memory: cache }, allowForceRelease: true },
        async url => {
          const mount = new URL(url).pathname.slice(0, -1);
          const post = async (path: string) => {
            const { status } = await sendAsIs(url, {
              method: 'POST',
              path,
              headers: { origin: new URL(url).origin, 'content-type': 'application/json' },
              body: JSON.stringify({ source: 'memory', storedKey, fence: handle.fence }),
            });
            return `${path} ${status}`;
          };
          const attacks = name === 'Hono' ? DISGUISED : [...DISGUISED, ...SENT_AS_THEY_ARE];
          const paths = attacks.map(path => mount + path);
          paths.push('/elsewhere/api/force-release', `/x${mount}/api/force-release`);
          if (mount !== '') paths.push(`${mount}x/api/force-release`, '/api/force-release');
          const answers: string[] = [];
          for (const path of paths) answers.push(await post(path));
          const isStillHeld = handle.held && (await cache.inspect([storedKey]))[0] !== undefined;
          const right = await post(`${mount}/api/force-release?x=1`);

          expect(answers).to.deep.equal(paths.map(path => `${path} 404`));
          expect(isStillHeld).to.equal(true);
          expect(right).to.match(/ 200$/);
        },
        host,
      );
    });

    it('lead to the slash at the end of the mount', async () => {
      await withBoard(
        { caches: { memory: new MemoryCache() } },
        async url => {
          const { pathname } = new URL(url);
          const { status, headers } = await sendAsIs(url, { path: pathname.slice(0, -1) || '/' });
          const found = headers.location && new URL(headers.location, url.slice(0, -1)).href;

          expect([status, found]).to.deep.equal(pathname === '/' ? [200, undefined] : [302, url]);
        },
        host,
      );
    });
  });
}
