"""A lock of bullmq-once in Python: it excludes Node workers, and they exclude it.

It is the subset of docs/protocol.md that a worker in another language needs: one lease of one key, which is acquired, renewed and
released. Needs redis-py 4 or newer (Debian: python3-redis).
"""

import json
import secrets
import threading
import time
from contextlib import suppress
from urllib.parse import quote

ACQUIRE = """
-- KEYS  the lock, its line.  ARGV  token, owner (both as JSON), ttl in ms
-- returns the fence, or what holds the key
local stored = redis.pcall('GET', KEYS[1])
if stored then return type(stored) == 'string' and stored or 'several hold it' end
if redis.call('ZCOUNT', KEYS[2], 100000000000000, '+inf') > 0 then return 'jobs are parked for it' end
local time = redis.call('TIME')
local fence = string.format('%s%06d', time[1], time[2])
local record = '{"once":1,"state":"running","token":' .. ARGV[1] .. ',"ttl":' .. ARGV[3] .. ',"attempt":0,"owner":' .. ARGV[2]
  .. ',"fence":' .. fence .. ',"since":' .. string.sub(fence, 1, 13) .. '}'
redis.call('SET', KEYS[1], record, 'PX', ARGV[3])
return tonumber(fence)
"""

RENEW = """
-- KEYS  the lock.  ARGV  token (as JSON), ttl in ms
-- returns 1, or 0: it is not held under this token
local stored = redis.pcall('GET', KEYS[1])
if type(stored) ~= 'string' or string.find(stored, ARGV[1], 37, true) ~= 37 or string.sub(stored, 1, 10) ~= '{"once":1,' then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

RELEASE = """
-- KEYS  the lock.  ARGV  token (as JSON)
-- returns 1, or 0: it is not held under this token
local stored = redis.pcall('GET', KEYS[1])
if type(stored) ~= 'string' or string.find(stored, ARGV[1], 37, true) ~= 37 or string.sub(stored, 1, 10) ~= '{"once":1,' then return 0 end
redis.call('DEL', KEYS[1])
if string.sub(stored, 20, 26) == 'awaited' then redis.call('PUBLISH', KEYS[1], '') end
return 1
"""


def name_of_queue_lock(queue, key, prefix="bull"):
    """The name of a lock that belongs to a queue."""
    return f"{prefix}::once:1:{queue}:{key}"


def name_of_scope_lock(scope, key):
    """The name of a lock of a scope, which queues share."""
    escaped = "".join(quote(char, safe="") if char in "%:" else char for char in scope)
    return f"once::1:{escaped}:{key}"


def line_of(name):
    """The name of the line of a lock: in the same slot of a cluster."""
    opening = name.find("{")
    closing = name.find("}", opening) if opening >= 0 else -1
    if closing <= opening + 1:
        return "once::once:line:1:{" + name + "}"
    if name.startswith("once::1:"):
        return name.replace("once::1:", "once::once:line::1:", 1)
    return name.replace("::once:1:", "::once:line:1:", 1)


class Held(Exception):
    """The key is held. `holder` is its record, or a string where it is no single lease."""

    def __init__(self, name, holder):
        who = f"it is {holder['state']} for {holder['owner']}" if isinstance(holder, dict) else holder
        super().__init__(f"{name} is held: {who}")
        self.holder = holder


class OnceLock:
    """One acquisition of a key. In a `with` block it is renewed by a thread, and released at the end."""

    def __init__(self, client, name, ttl_ms=30_000, owner=None):
        self.fence = 0
        self.lost = threading.Event()
        self._name, self._ttl_ms = name, ttl_ms
        # A comma behind the token: one token is never the beginning of another.
        self._token = json.dumps(secrets.token_urlsafe(12))
        self._owner = json.dumps(owner or f"python.{secrets.token_urlsafe(12)}")
        self._acquire, self._renew, self._release = map(client.register_script, (ACQUIRE, RENEW, RELEASE))
        self._safe_until = 0.0
        self._ended = threading.Event()

    def acquire(self):
        """Raises Held if the key is held."""
        asked_at = time.monotonic()
        try:
            answer = self._acquire(keys=[self._name, line_of(self._name)], args=[self._token, self._owner, self._ttl_ms])
        except Exception:
            # It may have been acquired, and the answer got lost.
            with suppress(Exception):
                self.release()
            raise
        if not isinstance(answer, int):
            text = answer.decode() if isinstance(answer, bytes) else answer
            raise Held(self._name, json.loads(text) if text.startswith('{"once":1,') else text)
        self.fence = answer
        self._count_from(asked_at)

    def renew(self):
        """False: the lease is lost. Stop the work."""
        asked_at = time.monotonic()
        if self._renew(keys=[self._name], args=[self._token + ",", self._ttl_ms]) == 1:
            self._count_from(asked_at)
            return True
        self.lost.set()
        return False

    def release(self):
        """False: it was not held any more."""
        return self._release(keys=[self._name], args=[self._token + ","]) == 1

    def held(self):
        """Whether the lease is known to be held now, also if this process stood still."""
        return not self.lost.is_set() and time.monotonic() < self._safe_until

    def _count_from(self, asked_at):
        # From before the request, and for nine tenths: it ends here before anyone else can acquire the key.
        self._safe_until = asked_at + self._ttl_ms * 0.9 / 1000

    def _keep(self):
        while not self._ended.wait(self._ttl_ms / 3000):
            try:
                if not self.renew():
                    return
            except Exception:
                # Not known: it is tried again for as long as the lease is safe.
                pass
            if time.monotonic() >= self._safe_until:
                self.lost.set()
                return

    def __enter__(self):
        self.acquire()
        self._renewing = threading.Thread(target=self._keep, daemon=True)
        self._renewing.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._renewing.join()
        self.release()
