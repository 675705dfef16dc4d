"""Many threads on one bucket and one limiter: no token is granted twice, none is lost.

With a GIL the methods are atomic, so these hold by construction; they are what must still hold when it is gone.  The
negative control takes the same steps without atomicity and must be caught by the same check.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from perfsuite.limits import RateLimiter, TokenBucket

THREADS, TRIES, TOKENS = 8, 2000, 5000


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def granted(check: Callable[[int], bool]) -> int:
    """How many of the tries succeed, all threads starting at once."""
    barrier = threading.Barrier(THREADS)
    counts: list[int] = []

    def work() -> None:
        barrier.wait()
        counts.append(sum(check(i) for i in range(TRIES)))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == THREADS
    return sum(counts)


def test_a_bucket_grants_exactly_its_tokens() -> None:
    bucket = TokenBucket(0, TOKENS)
    assert granted(lambda i: bucket.try_acquire()) == TOKENS


def test_a_limiter_grants_each_key_exactly_its_tokens() -> None:
    limiter = RateLimiter(0, 3, 500)
    assert granted(lambda i: limiter.allow(f"key {i % 1000}")) == 3 * 500
    assert len(limiter) == 500


def test_a_limiter_whose_keys_switch_threads_in_a_search() -> None:
    class Key:
        """Equal by value, with an __eq__ in Python: other threads run in the middle of every search."""

        def __init__(self, value: int) -> None:
            self.value = value

        def __hash__(self) -> int:
            return self.value % 7

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and self.value == other.value

    limiter = RateLimiter(0, 2, 1000)
    assert granted(lambda i: limiter.allow(Key(i % 40))) == 2 * 40
    assert len(limiter) == 40


def test_acquire_grants_exactly_its_tokens() -> None:
    bucket = TokenBucket(1e-9, 100)
    assert granted(lambda i: i < 50 and bucket.acquire(timeout=0)) == 100


def test_the_check_catches_a_bucket_that_is_not_atomic() -> None:
    level = [TOKENS]

    def check(i: int) -> bool:
        now = level[0]
        if now < 1:
            return False
        if i % 100 == 0:
            time.sleep(0)  # where another thread gets in
        level[0] = now - 1
        return True

    assert granted(check) > TOKENS
