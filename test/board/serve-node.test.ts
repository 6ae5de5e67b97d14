import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { type Board, createBoard } from '../../src/board.ts';
import { Lock, MemoryCache } from '../../src/index.ts';
import { type Deferred, deferred, until } from '../support/index.ts';
import { heldUpCache, portOf, sendAsIs, withBoard } from './served-board.ts';

/** Sends raw HTTP. Resolves to the first line of the answer. */
async function send(port: string, text: string, { hangUp = false } = {}): Promise<string | undefined> {
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
}

describe('the board on node:http', () => {
  it('survives requests that no browser sends', async () => {
    await withBoard({ caches: { memory: new MemoryCache() } }, async url => {
      const { port } = new URL(url);

      const traced = await send(port, 'TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n');
      const elsewhere = await send(port, 'GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n');
      const star = await send(port, 'OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n');
      const noHost = await send(port, 'GET /api/locks HTTP/1.0\r\n\r\n');
      const cutOff = 'POST /api/force-release HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{';
      await send(port, cutOff, { hangUp: true });

      expect([traced, elsewhere, star, noHost]).to.deep.equal([
        'HTTP/1.1 405 Method Not Allowed',
        'HTTP/1.1 404 Not Found',
        'HTTP/1.1 404 Not Found',
        'HTTP/1.1 403 Forbidden',
      ]);
      expect((await fetch(url)).status).to.equal(200);
    });
  });
});

describe('the board on a server that does not leave the request to it', () => {
  let board: Board;
  let isListing: Deferred<void>;
  let mayList: Deferred<void>;
  beforeEach(() => {
    const heldUp = heldUpCache();
    ({ isListing, mayList } = heldUp);
    board = createBoard({ caches: { cache: heldUp.cache }, allowForceRelease: true });
  });
  afterEach(() => board.close());

  /** Serves one request for locks, and waits until the board is done with it. A crash of the process fails the test. */
  async function serveOnce(
    meddle: (request: IncomingMessage, response: ServerResponse) => Promise<unknown> | unknown,
    { body }: { body?: string } = {},
  ): Promise<string> {
    const done = deferred();
    const server = createServer(async (request, response) => {
      const served = body === undefined ? meddle(request, response) : undefined;
      const answered = board.node(request, response);
      if (body !== undefined) await meddle(request, response);
      await served;
      await answered;
      done.resolve();
    }).listen(0, '127.0.0.1');
    const port = await portOf(server);
    const url = `http://127.0.0.1:${port}/`;
    const release = { method: 'POST', path: '/api/force-release', headers: { origin: url.slice(0, -1) } };
    const sent = sendAsIs(url, body === undefined ? { path: '/api/locks' } : { ...release, body });
    const outcome = sent.then(
      ({ status, body }) => `${status} ${body}`,
      () => 'no answer',
    );
    await done.promise;
    // What it might do too late, it would do now.
    await delay(20);
    const answer = await outcome;
    server.close();
    return answer;
  }

  it('leaves alone what the host had answered before', async () => {
    mayList.resolve();

    expect(await serveOnce((_request, response) => response.end('mine'))).to.equal('200 mine');
  });

  it('leaves alone what the host has answered meanwhile, as a time-out does', async () => {
    const answer = await serveOnce(async (_request, response) => {
      await isListing.promise;
      response.writeHead(503).end('too late');
      mayList.resolve();
    });

    expect(answer).to.equal('503 too late');
  });

  it('leaves alone what the host has begun to answer', async () => {
    const answer = await serveOnce(async (_request, response) => {
      await isListing.promise;
      response.write('my ');
      mayList.resolve();
      setTimeout(() => response.end('own'), 10);
    });

    expect(answer).to.equal('200 my own');
  });

  it('survives that the host destroys the connection, with an error or without', async () => {
    for (const error of [undefined, new Error('of the host')]) {
      const answer = await serveOnce(async (request, response) => {
        await isListing.promise;
        response.destroy(error);
        request.destroy(error);
        mayList.resolve();
      });

      expect(answer).to.equal('no answer');
    }
  });

  it('survives that the host destroys the request while its body is read', async () => {
    const answer = await serveOnce(request => request.destroy(new Error('of the host')), {
      body: JSON.stringify({ source: 'x'.repeat(60_000) }),
    });

    expect(answer).to.equal('no answer');
  });

  it('survives that a hook of the host fails, and leaves no client waiting', async () => {
    mayList.resolve();
    const answer = await serveOnce((_request, response) => {
      response.writeHead = () => {
        throw new Error('of the host');
      };
    });

    expect(answer).to.equal('no answer');
  });

  it('leaves the host the socket of its request, also where the body was not read to the end', async () => {
    const done = deferred<boolean>();
    const server = createServer(async (request, response) => {
      await board.node(request, response);
      done.resolve(request.socket !== null);
    }).listen(0, '127.0.0.1');
    const origin = `http://127.0.0.1:${await portOf(server)}`;
    const { status } = await sendAsIs(origin, {
      method: 'POST',
      path: '/api/force-release',
      headers: { origin, 'transfer-encoding': 'chunked' },
      body: 'x'.repeat(100_000),
    });
    server.close();

    expect(status).to.equal(413);
    expect(await done.promise).to.equal(true);
  });

  it('survives that the client leaves before it is answered', async () => {
    const done = deferred();
    const server = createServer((request, response) => {
      void board.node(request, response).then(() => done.resolve());
    }).listen(0, '127.0.0.1');
    const socket = connect(await portOf(server), '127.0.0.1');
    socket.write('GET /api/locks HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await isListing.promise;
    const closed = new Promise(resolve => socket.once('close', resolve));
    socket.destroy();
    await closed;
    mayList.resolve();
    await done.promise;
    server.close();
  });
});

describe('the board on node:http2', () => {
  /** Sends a request, and resolves to its status and its body. */
  async function withHttp2(
    board: Board,
    use: (
      ask: (headers: Record<string, string>, body?: string) => Promise<[number, string]>,
    ) => Promise<void>,
  ): Promise<void> {
    const server = createHttp2Server(board.node).listen(0, '127.0.0.1');
    const client = connectHttp2(`http://127.0.0.1:${await portOf(server)}`);
    try {
      await use(async (headers, body) => {
        const stream = client.request(headers);
        const status = new Promise<number>((resolve, reject) => {
          stream.once('response', answer => resolve(answer[':status'] as number)).once('error', reject);
        });
        stream.end(body);
        return [await status, await text(stream)];
      });
    } finally {
      client.destroy();
      server.close();
      board.close();
    }
  }

  it('shows its page, and releases a lock by force under the authority that is trusted, and under no other', async () => {
    const cache = new MemoryCache();
    const handle = await new Lock('k', { cache }).acquire();
    const board = createBoard({ caches: { memory: cache }, allowForceRelease: true });
    await withHttp2(board, async ask => {
      const [pageStatus, html] = await ask({ ':path': '/' });
      const [, shown] = await ask({ ':path': '/api/locks' });
      const { source, storedKey, fence } = JSON.parse(shown).locks[0];
      const post = (authority: string) =>
        ask(
          {
            ':path': '/api/force-release',
            ':method': 'POST',
            ':authority': authority,
            origin: `http://${authority}`,
            'content-type': 'application/json',
          },
          JSON.stringify({ source, storedKey, fence }),
        );
      const [foreign] = await post('evil.example');
      const isStillHeld = (await cache.inspect([storedKey]))[0] !== undefined;
      const [own] = await post('localhost:3000');

      expect([pageStatus, html.includes('<h1>Locks</h1>')]).to.deep.equal([200, true]);
      expect([foreign, isStillHeld]).to.deep.equal([403, true]);
      expect(own).to.equal(200);
    });
    expect(await handle.release()).to.equal(false);
  });

  it('ends the streams of its answers without a code of an error, and sends the answers first', async () => {
    const board = createBoard({ caches: { memory: new MemoryCache() } });
    const server = createHttp2Server(board.node).listen(0, '127.0.0.1');
    const client = connectHttp2(`http://127.0.0.1:${await portOf(server)}`);
    const ask = async (path: string, body?: string) => {
      const stream = client.request({ ':path': path, ':method': body === undefined ? 'GET' : 'POST' });
      if (body === undefined) stream.end();
      else stream.write(body); // More is to come, and never does.
      const closed = new Promise(resolve => stream.once('close', resolve));
      const answer = await text(stream);
      stream.end();
      await closed;
      return [answer.length > 0, stream.rstCode];
    };

    const answers = await Promise.all([
      ...['/', '/board.js', '/board.css', '/api/locks', '/nothing'].map(path => ask(path)),
      ask('/api/locks', 'x'),
    ]);
    client.destroy();
    server.close();
    board.close();

    expect(answers).to.deep.equal(answers.map(() => [true, 0]));
  });

  it('survives that the client cancels its request', async () => {
    const { cache, isListing, mayList } = heldUpCache();
    const board = createBoard({ caches: { cache } });
    const done = deferred();
    const server = createHttp2Server((request, response) => {
      void board.node(request, response).then(() => done.resolve());
    }).listen(0, '127.0.0.1');
    const client = connectHttp2(`http://127.0.0.1:${await portOf(server)}`);
    const stream = client.request({ ':path': '/api/locks' }).on('error', () => {});
    await isListing.promise;
    stream.close(8);
    await new Promise(resolve => stream.once('close', resolve));
    await new Promise(resolve => client.ping(resolve));
    mayList.resolve();
    await done.promise;
    await delay(20);
    client.destroy();
    server.close();
    board.close();
  });
});
