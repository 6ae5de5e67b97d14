import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { createBoard } from '../../src/board.ts';
import { MemoryCache } from '../../src/index.ts';
import { until } from '../support/index.ts';
import { portOf, postForceRelease, SERVERS, withBoard } from './served-board.ts';

const MB = 1024 * 1024;
const CHUNK = 'x'.repeat(MB);

/** Sends a body of 200 MB until it is answered. The answer, and how much of it was taken by then. */
async function sendHuge(url: string, { isChunked }: { isChunked: boolean }): Promise<[string, number]> {
  const { port, pathname, origin, host } = new URL(url);
  const socket = connect(Number(port), '127.0.0.1');
  let answer = '';
  socket.on('data', data => {
    answer += data;
  });
  socket.on('error', () => {});
  const length = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${200 * MB}`;
  socket.write(
    `POST ${pathname}api/force-release HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n` +
      `Content-Type: application/json\r\n${length}\r\n\r\n`,
  );
  for (let i = 0; i < 200 && answer === '' && !socket.destroyed; i++) {
    const part = isChunked ? `${CHUNK.length.toString(16)}\r\n${CHUNK}\r\n` : CHUNK;
    await written(socket, part);
  }
  await until(() => answer !== '' || socket.destroyed);
  const sent = socket.bytesWritten - socket.writableLength;
  socket.destroy();
  return [answer.split('\r\n')[0] as string, sent];
}

function written(socket: Socket, part: string): Promise<unknown> {
  return Promise.race([
    new Promise(resolve => socket.write(part, resolve)),
    new Promise(resolve => socket.once('data', resolve).once('close', resolve)),
  ]);
}

describe('the body of a request for a force release', () => {
  for (const name of ['node:http', 'Hono']) {
    for (const isChunked of [false, true]) {
      const how = isChunked ? 'sent in chunks' : 'announced';
      it(`is refused and not read further where 200 MB are ${how} (${name})`, async () => {
        const options = { caches: { memory: new MemoryCache() }, allowForceRelease: true };
        await withBoard(
          options,
          async url => {
            const before = process.memoryUsage().rss;
            const [answer, sent] = await sendHuge(url, { isChunked });
            const grown = process.memoryUsage().rss - before;
            const next = await fetch(url);

            expect(answer).to.match(/^HTTP\/1\.1 413 /);
            expect(sent).to.be.below(30 * MB);
            expect(grown).to.be.below(100 * MB);
            expect(next.status).to.equal(200);
          },
          SERVERS[name],
        );
      });
    }
  }

  it('is refused in HTTP/2 too, and leaves the connection to others', async () => {
    const board = createBoard({ caches: { memory: new MemoryCache() }, allowForceRelease: true });
    const server = createHttp2Server(board.node).listen(0, '127.0.0.1');
    const client = connectHttp2(`http://127.0.0.1:${await portOf(server)}`);
    /** Resolves to the status when the stream has ended, though not all of the body was read. */
    const ask = (headers: Record<string, string>, body?: string) =>
      new Promise<unknown>((resolve, reject) => {
        const stream = client.request(headers);
        let status: unknown;
        stream.once('response', answer => {
          status = answer[':status'];
        });
        stream.once('error', reject).once('close', () => resolve(status));
        stream.end(body);
        stream.resume();
      });
    const post = { ':method': 'POST', ':path': '/api/force-release', 'sec-fetch-site': 'same-origin' };

    const chunked = await ask(post, CHUNK);
    const announced = await ask({ ...post, 'content-length': `${MB}` }, CHUNK);
    const next = await ask({ ':path': '/' });
    client.destroy();
    server.close();
    board.close();

    expect([chunked, announced, next]).to.deep.equal([413, 413, 200]);
  });

  it('may have the length of the longest name of a lock, and must be JSON', async () => {
    const options = { caches: { memory: new MemoryCache() }, allowForceRelease: true };
    await withBoard(options, async url => {
      const { origin } = new URL(url);
      const long = { source: 'memory', storedKey: `once::1:default:${'k'.repeat(60_000)}`, fence: 1 };
      const ofLength = await postForceRelease(url, long, { origin });
      const empty = await fetch(`${url}api/force-release`, { method: 'POST', headers: { origin } });
      const nonsense = await fetch(`${url}api/force-release`, {
        method: 'POST',
        headers: { origin },
        body: '{',
      });

      expect([ofLength.status, empty.status, nonsense.status]).to.deep.equal([409, 400, 400]);
      expect(((await empty.json()) as { problem: string }).problem).to.include("the request's 'body'");
    });
  });
});
