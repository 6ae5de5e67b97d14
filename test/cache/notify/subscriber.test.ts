/** The connection on which releases are notified: opened for the first listener, closed after the last, and never trusted blindly. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import {
  type OpenSubscription,
  Subscriber,
  type Subscription,
} from '../../../src/cache/notify/subscriber.ts';
import { deferred, until } from '../../support/index.ts';

/** Longer than the time for which a connection stays open after its last listener. */
const AFTER_LINGER_MS = 1300;

/** A connection that a test opens, ends and looks at. */
class FakeConnection implements Subscription {
  isUp = true;
  isClosed = false;
  readonly subscribed = new Set<string>();
  notify: (storedKey: string) => void = () => {};
  end: () => void = () => {};
  closing: () => unknown = () => {};
  connecting: Promise<void> = Promise.resolve();

  connect(): Promise<void> {
    return this.connecting;
  }

  async subscribe(storedKey: string): Promise<void> {
    this.subscribed.add(storedKey);
  }

  async unsubscribe(storedKey: string): Promise<void> {
    this.subscribed.delete(storedKey);
  }

  close(): unknown {
    this.isClosed = true;
    return this.closing();
  }
}

/** Opens fake connections, each when the test says so. */
function fakeConnections() {
  const opened: FakeConnection[] = [];
  let gate = Promise.resolve();
  const open: OpenSubscription = (onRelease, onEnd) => {
    const connection = new FakeConnection();
    connection.notify = onRelease;
    connection.end = onEnd;
    connection.connecting = gate;
    opened.push(connection);
    return connection;
  };
  const hold = () => {
    const { promise, resolve } = deferred();
    gate = promise;
    return resolve;
  };
  return { opened, subscriber: new Subscriber(open), hold };
}

const ignore = () => {};

describe('A subscriber', () => {
  it('opens one connection for all listeners, and subscribes once to each key', async () => {
    const { opened, subscriber } = fakeConnections();

    const listeners = ['a', 'b', 'a', 'a'].map(storedKey => subscriber.listen(storedKey, ignore));
    await until(() => listeners.every(({ isListening }) => isListening));

    expect(opened).to.have.length(1);
    expect([...(opened[0]?.subscribed ?? [])]).to.deep.equal(['a', 'b']);
    for (const listener of listeners) listener.stop();
  });

  it('is not listening before its connection is open, and notifies once when it is', async () => {
    const { subscriber, hold } = fakeConnections();
    const open = hold();
    let notified = 0;

    const listener = subscriber.listen('k', () => notified++);
    await delay(20);
    const before = [listener.isListening, notified];
    open();
    await until(() => listener.isListening);

    expect(before).to.deep.equal([false, 0]);
    expect(notified).to.equal(1);
    listener.stop();
  });

  it('notifies a listener that comes when the last one of its key has stopped just now', async () => {
    const { subscriber } = fakeConnections();
    const before = subscriber.listen('a', ignore);
    await until(() => before.isListening);
    let notified = 0;

    before.stop();
    const listener = subscriber.listen('a', () => notified++);

    await until(() => notified === 1, 'it was notified', 2_000);
    listener.stop();
  });

  it('closes a connection that was opened after all its listeners had left', async () => {
    const { opened, subscriber, hold } = fakeConnections();
    const open = hold();
    subscriber.listen('k', ignore).stop();
    await delay(AFTER_LINGER_MS);

    open();

    await until(() => opened[0]?.isClosed);
    expect(opened).to.have.length(1);
  });

  it('keeps a connection whose listeners left and came back before it was open', async () => {
    const { opened, subscriber, hold } = fakeConnections();
    const open = hold();
    subscriber.listen('k', ignore).stop();
    const listener = subscriber.listen('k', ignore);
    await delay(AFTER_LINGER_MS);
    open();

    await until(() => listener.isListening);

    expect(opened).to.have.length(1);
    expect(opened[0]?.isClosed).to.equal(false);
    listener.stop();
  });

  it('opens another connection for a listener that comes after the first was given up', async () => {
    const { opened, subscriber, hold } = fakeConnections();
    const open = hold();
    subscriber.listen('k', ignore).stop();
    await delay(AFTER_LINGER_MS);

    const listener = subscriber.listen('k', ignore);
    open();
    await until(() => listener.isListening);

    expect(opened.map(({ isClosed }) => isClosed)).to.deep.equal([true, false]);
    listener.stop();
  });

  it('unsubscribes from the keys that nobody listens to any more (a thousand short waits beside a long one)', async () => {
    const { opened, subscriber } = fakeConnections();
    const long = subscriber.listen('long', ignore);

    await Promise.all(
      Array.from({ length: 1000 }, async (_, i) => {
        const listener = subscriber.listen(`short ${i}`, ignore);
        await delay(1);
        listener.stop();
      }),
    );

    await until(() => opened[0]?.subscribed.size === 1);
    expect([...(opened[0]?.subscribed ?? [])]).to.deep.equal(['long']);
    expect(long.isListening).to.equal(true);
    long.stop();
  });

  it('is subscribed to a key whose listener came back while it unsubscribed', async () => {
    const { opened, subscriber } = fakeConnections();
    const long = subscriber.listen('long', ignore);
    await until(() => long.isListening);
    const connection = opened[0] as FakeConnection;
    const slow = deferred();
    const { unsubscribe } = connection;
    connection.unsubscribe = async storedKey => {
      await slow.promise;
      await unsubscribe.call(connection, storedKey);
    };
    const first = subscriber.listen('k', ignore);
    await until(() => first.isListening);

    first.stop();
    await delay(5);
    const second = subscriber.listen('k', ignore);
    slow.resolve();
    await until(() => second.isListening);

    expect([...connection.subscribed]).to.have.members(['long', 'k']);
    for (const listener of [long, second]) listener.stop();
  });

  for (const [what, closing] of [
    [
      'throws',
      () => {
        throw new Error('the client is closed');
      },
    ],
    ['rejects', () => Promise.reject(new Error('the client is closed'))],
    ['never settles', () => new Promise(() => {})],
  ] as const) {
    it(`closes a connection that has ended for good, and harms nothing (its close ${what})`, async () => {
      const { opened, subscriber } = fakeConnections();
      const listener = subscriber.listen('k', ignore);
      await until(() => listener.isListening);
      const connection = opened[0] as FakeConnection;
      connection.closing = closing;

      listener.stop();
      await until(() => connection.isClosed);
      const next = subscriber.listen('k', ignore);

      await until(() => next.isListening);
      expect(opened).to.have.length(2);
      next.stop();
    });
  }

  it('lets those who wait ask at once when its connection has ended, and opens another for the next', async () => {
    const { opened, subscriber } = fakeConnections();
    let notified = 0;
    const first = subscriber.listen('first', () => notified++);
    await until(() => first.isListening);

    opened[0]?.end();
    const afterwards = [first.isListening, notified];
    const second = subscriber.listen('second', ignore);
    await until(() => second.isListening);

    expect(afterwards).to.deep.equal([false, 2]);
    expect(opened).to.have.length(2);
    for (const listener of [first, second]) listener.stop();
  });

  it('is subscribed again to all keys that are listened to, on the connection that follows one that ended', async () => {
    const { opened, subscriber } = fakeConnections();
    const first = subscriber.listen('first', ignore);
    await until(() => first.isListening);

    opened[0]?.end();
    const second = subscriber.listen('second', ignore);
    await until(() => second.isListening);

    await until(() => first.isListening, 'the first listener is notified again', 3000);
    for (const listener of [first, second]) listener.stop();
  });

  it('tries again at the next listener when a connection could not be opened', async () => {
    let tries = 0;
    const connection = new FakeConnection();
    const subscriber = new Subscriber(() => {
      if (++tries === 1) throw new Error('no route');
      return connection;
    });
    let notified = 0;
    const first = subscriber.listen('k', () => notified++);
    await until(() => notified === 1);

    first.stop();
    const second = subscriber.listen('k', ignore);

    await until(() => second.isListening);
    expect(tries).to.equal(2);
    second.stop();
  });
});
