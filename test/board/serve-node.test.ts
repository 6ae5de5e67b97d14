import { connect } from 'node:net';
import { expect } from 'chai';
import { MemoryCache } from '../../src/index.ts';
import { until } from '../support/index.ts';
import { withBoard } from './served-board.ts';

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
      const { port, origin } = new URL(url);

      const traced = await send(port, 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n');
      const elsewhere = await send(port, 'GET http://evil.example/x/ HTTP/1.1\r\nHost: a\r\n\r\n');
      const cutOff = 'POST /api/force-release HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{';
      await send(port, cutOff, { hangUp: true });
      const huge = await fetch(`${url}api/force-release`, {
        method: 'POST',
        headers: { origin },
        body: 'x'.repeat(1_000_000),
      }).catch(() => ({ status: 400 }));

      expect([traced, elsewhere]).to.deep.equal(['HTTP/1.1 400 Bad Request', 'HTTP/1.1 200 OK']);
      expect(huge.status).to.equal(400);
      expect((await fetch(url)).status).to.equal(200);
    });
  });
});
