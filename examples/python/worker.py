"""Works under a lock that Node workers respect: python3 worker.py redis://127.0.0.1:6379 emails welcome-42 --seconds 5"""

import argparse
import time

import redis

from once_lock import Held, OnceLock, name_of_queue_lock

arguments = argparse.ArgumentParser()
arguments.add_argument("url")
arguments.add_argument("queue")
arguments.add_argument("key")
arguments.add_argument("--seconds", type=float, default=1)
arguments.add_argument("--ttl-ms", type=int, default=30_000)
given = arguments.parse_args()


def work(lock):
    """Stops where the lock is lost: another worker may have the key by now."""
    end = time.monotonic() + given.seconds
    while time.monotonic() < end:
        if not lock.held():
            return f"lost {given.key}"
        time.sleep(0.01)
    return f"worked under {given.key}"


# A request that takes longer than a renewal may is given up, and sent again.
client = redis.Redis.from_url(given.url, socket_timeout=given.ttl_ms / 3000)
try:
    with OnceLock(client, name_of_queue_lock(given.queue, given.key), given.ttl_ms) as lock:
        print(f"holds {given.key} with fence {lock.fence}", flush=True)
        print(work(lock), flush=True)
except Held as held:
    print(f"refused: {held}", flush=True)
