import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect } from 'chai';
import { listenDelayed, portOf } from '../../bench/delay-proxy.ts';

describe('The slow network of the benchmarks', () => {
  it('delays each way what passes, and keeps its order', async () => {
    const echo = createServer(socket => socket.pipe(socket)).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const proxy = await listenDelayed({ port: portOf(echo), ms: 20 });
    const client = connect({ port: portOf(proxy), host: '127.0.0.1', noDelay: true });
    await once(client, 'connect');

    const sentAt = performance.now();
    const sent = Array.from({ length: 200 }, (_, i) => `line ${i}\n`);
    for (const line of sent) client.write(line);
    let received = '';
    let firstAfter = 0;
    for await (const bytes of client) {
      firstAfter ||= performance.now() - sentAt;
      received += bytes;
      if (received.length >= sent.join('').length) break;
    }

    expect(received).to.equal(sent.join(''));
    expect(firstAfter).to.be.at.least(40);
    proxy.close();
    echo.close();
  });

  it('closes a connection whose other end is closed', async () => {
    const server = createServer(socket => socket.destroy()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = await listenDelayed({ port: portOf(server), ms: 1 });
    const client = connect({ port: portOf(proxy), host: '127.0.0.1' });

    await once(client, 'close');

    proxy.close();
    server.close();
  });
});
