"""Token buckets and the keyed limiter against exact models; waiting by counted steps, not by the wall clock."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import math
import pickle
import subprocess
import sys
import threading
import time
import weakref
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import perfsuite
from perfsuite.limits import RateLimiter, TokenBucket

SECOND = 10**9


class Clock:
    """Nanoseconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.ns = 5 * SECOND

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
    """Sleeping moves the fake clock (and so time.monotonic) on and takes no time."""
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        clock.ns += math.ceil(seconds * SECOND)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.ns / SECOND)
    return sleeps


class ExactBucket:
    """The definition, in rational numbers: a level that rises at `rate` up to `capacity`."""

    def __init__(self, rate: int, capacity: int, now: int) -> None:
        self.rate, self.capacity, self.level, self.then = Fraction(rate, SECOND), capacity, Fraction(capacity), now

    def take(self, n: int, now: int) -> bool:
        now = max(now, self.then)
        self.level = min(self.level + (now - self.then) * self.rate, Fraction(self.capacity))
        self.then = now
        if self.level < n:
            return False
        self.level -= n
        return True


# Rates that divide a second evenly are held exactly, so the model must agree to the nanosecond.
@given(
    st.sampled_from([0, 1, 2, 5, 10, 1000, 10**6, 10**9]),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(-(2 * SECOND), 3 * SECOND), st.integers(1, 25)), max_size=60),
)
def test_bucket_is_the_exact_model(rate: int, capacity: int, steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, capacity, clock=clock)
    model = ExactBucket(rate, capacity, clock.ns)
    for move, n in steps:
        clock.ns += move
        assert bucket.try_acquire(n) is model.take(n, clock.ns)
        assert bucket.available == pytest.approx(float(model.level), abs=1e-6)
        wait = bucket.retry_after()
        if wait in (0.0, math.inf):
            assert (wait == 0.0) == (model.level >= 1)
            continue
        at = max(clock.ns, model.then) + math.ceil(wait * SECOND - 1e-3)
        assert model.level + (at - model.then) * model.rate >= 1


@given(
    st.sampled_from([0, 1, 10, 1000]),
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, SECOND), st.integers(0, 7), st.integers(1, 5)), max_size=80),
)
def test_limiter_is_a_bucket_for_each_key(
    rate: int, capacity: int, max_keys: int, steps: list[tuple[int, int, int]]
) -> None:
    clock = Clock()
    limiter = RateLimiter(rate, capacity, max_keys, clock=clock)
    models: dict[str, ExactBucket] = {}
    refused = 0
    for move, name, n in steps:
        clock.ns += move
        key = f"key {name}"
        for other, model in list(models.items()):
            model.take(0, clock.ns)
            if model.level == capacity:
                del models[other]
        if n > capacity:
            expected = False
        elif key not in models and len(models) == max_keys:
            expected = False
            refused += 1
        else:
            expected = models.setdefault(key, ExactBucket(rate, capacity, clock.ns)).take(n, clock.ns)
        assert limiter.allow(key, n) is expected
        assert len(limiter) == len(models)
        assert limiter.refused_keys == refused


@pytest.mark.parametrize(
    ("rate", "capacity"),
    [(-1, 1), (math.nan, 1), (1, 0), (1, -1), (1, math.nan), (1, math.inf), (1, 2**51)],
)
def test_what_is_no_bucket(rate: float, capacity: float) -> None:
    with pytest.raises(ValueError, match=r"^(rate|capacity) is .*; it must be"):
        TokenBucket(rate, capacity)
    with pytest.raises(ValueError, match=r"^(rate|capacity) is .*; it must be"):
        RateLimiter(rate, capacity, 1)


@pytest.mark.parametrize("max_keys", [0, -1, 2**31 + 1])
def test_what_is_no_number_of_keys(max_keys: int) -> None:
    with pytest.raises(ValueError, match="max_keys is"):
        RateLimiter(1, 1, max_keys)


@pytest.mark.parametrize("n", [0, -1, math.nan, 0.0])
def test_what_is_no_number_of_tokens(n: float) -> None:
    bucket = TokenBucket(1, 1)
    limiter = RateLimiter(1, 1, 1)
    calls = [bucket.try_acquire, bucket.acquire, bucket.retry_after, lambda n: limiter.allow("k", n),
             lambda n: limiter.retry_after("k", n), lambda n: asyncio.run(bucket.wait(n))]  # fmt: skip
    for call in calls:
        with pytest.raises(ValueError, match=r"n is .* above 0"):
            call(n)
    with pytest.raises(TypeError):
        bucket.try_acquire("1")  # type: ignore[arg-type]
    assert bucket.available == 1.0


def test_calls_of_the_wrong_shape() -> None:
    bucket = TokenBucket(1, 5)
    limiter = RateLimiter(1, 5, 5)
    assert bucket.try_acquire(n=2)
    assert limiter.allow("k", n=2)
    for call in (lambda: bucket.try_acquire(1, 2), lambda: bucket.try_acquire(1, n=1), lambda: bucket.try_acquire(m=1),
                 limiter.allow, lambda: limiter.allow("k", 1, 2), lambda: limiter.allow("k", m=1),
                 lambda: limiter.allow(n=1), lambda: limiter.allow([]), lambda: TokenBucket(1),
                 lambda: TokenBucket(1, 1, clock=5)):  # fmt: skip
        with pytest.raises(TypeError):
            call()  # type: ignore[operator]
    for made in (bucket, limiter):
        with pytest.raises(TypeError):
            pickle.dumps(made)
    with pytest.raises(AttributeError):
        bucket.rate = 7  # type: ignore[misc]


def test_signatures() -> None:
    assert str(inspect.signature(TokenBucket.try_acquire)) == "(self, /, n=1)"
    assert str(inspect.signature(RateLimiter.allow)) == "(self, /, key, n=1)"
    assert list(inspect.signature(TokenBucket).parameters) == ["rate", "capacity", "clock"]
    assert list(inspect.signature(RateLimiter).parameters) == ["rate", "capacity", "max_keys", "clock"]
    assert perfsuite.TokenBucket is TokenBucket
    assert perfsuite.RateLimiter is RateLimiter


def test_rate_zero_gives_its_first_tokens_and_never_another(clock: Clock, slept: list[float]) -> None:
    bucket = TokenBucket(0, 3, clock=clock)
    assert bucket.acquire(2)
    clock.ns += 10**18
    assert bucket.available == 1.0
    assert bucket.try_acquire()
    assert bucket.retry_after() == math.inf
    assert not bucket.acquire(timeout=2.5)
    assert sum(slept) == pytest.approx(2.5)
    with pytest.raises(ValueError, match="its rate is 0"):
        bucket.acquire()
    with pytest.raises(ValueError, match="its rate is 0"):
        bucket.acquire(timeout=math.inf)  # no time-out by another name: nobody waits for ever
    with pytest.raises(ValueError, match="its rate is 0"):
        asyncio.run(bucket.wait())


def test_rate_infinity_always_gives(clock: Clock) -> None:
    bucket = TokenBucket(math.inf, 3, clock=clock)
    assert all(bucket.try_acquire(3) for _ in range(1000))
    assert bucket.retry_after(3) == 0.0
    assert bucket.available == 3.0
    limiter = RateLimiter(math.inf, 3, 1, clock=clock)
    assert all(limiter.allow(key, 3) for key in range(1000))
    assert len(limiter) == limiter.refused_keys == 0


def test_more_than_the_capacity(slept: list[float], clock: Clock) -> None:
    bucket = TokenBucket(1, 2, clock=clock)
    assert not bucket.try_acquire(3)
    assert bucket.retry_after(3) == math.inf
    with pytest.raises(ValueError, match="more than the capacity of 2"):
        bucket.acquire(3)
    with pytest.raises(ValueError, match="more than the capacity of 2"):
        bucket.acquire(3, timeout=1)
    with pytest.raises(ValueError, match="more than the capacity of 2"):
        asyncio.run(bucket.wait(3))
    assert not slept
    assert bucket.available == 2.0
    limiter = RateLimiter(1, 2, 5, clock=clock)
    assert not limiter.allow("k", 3)
    assert limiter.retry_after("k", 3) == math.inf
    assert len(limiter) == 0


def test_acquire_sleeps_as_long_as_it_must(clock: Clock, slept: list[float]) -> None:
    bucket = TokenBucket(4, 2, clock=clock)
    assert bucket.acquire(2)
    assert not slept
    assert bucket.acquire(1)
    assert sum(slept) == pytest.approx(0.25)
    assert bucket.acquire(2, timeout=60)
    assert sum(slept) == pytest.approx(0.75)
    slept.clear()
    assert not bucket.acquire(2, timeout=0.3)  # it waits its time-out, so that a loop over it does not spin
    assert sum(slept) == pytest.approx(0.3)
    assert not bucket.acquire(2, timeout=0)
    assert bucket.available == pytest.approx(1.2)  # a wait that ran out has taken nothing
    assert bucket.acquire(1.2, timeout=0)
    for timeout in (-1, math.nan):
        with pytest.raises(ValueError, match="timeout is"):
            bucket.acquire(2, timeout=timeout)


def test_a_wait_of_years_is_slept_in_parts(clock: Clock, slept: list[float]) -> None:
    bucket = TokenBucket(1 / 86400, 1, clock=clock)
    assert bucket.acquire()
    assert bucket.acquire(timeout=1e30)
    assert sum(slept) == pytest.approx(86400)
    assert max(slept) <= 3600


def test_acquire_lets_other_threads_run_and_hands_over() -> None:
    bucket = TokenBucket(100, 1)
    assert bucket.acquire()
    began = time.monotonic()
    got: list[int] = []
    threads = [threading.Thread(target=lambda i=i: got.append(i) if bucket.acquire() else None) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(got) == [0, 1, 2, 3]
    assert time.monotonic() - began >= 0.0399  # four tokens cannot come sooner


def test_ctrl_c_ends_a_wait_with_nothing_taken() -> None:
    code = """
import signal, perfsuite, threading
bucket = perfsuite.TokenBucket(1e-3, 1)
bucket.acquire()
signal.setitimer(signal.ITIMER_REAL, 0.05)
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    bucket.acquire()
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("not interrupted")
assert not bucket._turn.locked()
assert bucket.available < 0.01
print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "interrupted\n", done.stderr


def test_tasks_are_served_in_order_and_a_cancelled_one_has_taken_nothing(clock: Clock) -> None:
    bucket = TokenBucket(1, 3, clock=clock)
    order: list[str] = []
    slept: list[float] = []
    real_sleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real_sleep(0)
        await real_sleep(0)
        clock.ns += math.ceil(seconds * SECOND)

    async def take(name: str, n: int) -> None:
        await bucket.wait(n)
        order.append(name)

    async def main() -> None:
        await bucket.wait(3)
        large = asyncio.create_task(take("large", 3))
        gone = asyncio.create_task(take("gone", 3))
        small = [asyncio.create_task(take(f"small {i}", 1)) for i in range(3)]
        await real_sleep(0)
        gone.cancel()
        await asyncio.gather(large, *small)
        with pytest.raises(asyncio.CancelledError):
            await gone
        first = asyncio.create_task(take("first", 2))  # cancelled while it sleeps at the head of the line
        second = asyncio.create_task(take("second", 1))
        await real_sleep(0)
        first.cancel()
        await second

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        asyncio.run(main())
    assert order == ["large", "small 0", "small 1", "small 2", "second"]
    assert clock.ns == 5 * SECOND + 7 * SECOND  # 3 + 1 + 1 + 1 + 1 tokens after the first 3, and none for the cancelled
    assert bucket.available == pytest.approx(0)
    asyncio.run(asyncio.wait_for(TokenBucket(1000, 1).wait(), 10))


def test_one_bucket_in_two_loops() -> None:
    bucket = TokenBucket(1000, 1)

    async def twice() -> None:
        await asyncio.gather(*(bucket.wait() for _ in range(3)))

    asyncio.run(twice())
    assert bucket._lines == {}  # loops that are gone leave nothing behind


def test_a_clock_that_fails() -> None:
    class Broken(Exception):
        pass

    def clock() -> int:
        if broken:
            raise Broken
        return 0

    broken = False
    bucket = TokenBucket(1, 1, clock=clock)
    limiter = RateLimiter(1, 1, 1, clock=clock)
    broken = True
    calls = (bucket.try_acquire, bucket.retry_after, lambda: bucket.available, lambda: limiter.allow(1),
             lambda: limiter.retry_after(1), lambda: len(limiter), lambda: TokenBucket(1, 1, clock=clock))  # fmt: skip
    for call in calls:
        with pytest.raises(Broken):
            call()  # type: ignore[operator]
    with pytest.raises(TypeError):
        TokenBucket(1, 1, clock=lambda: "now")  # type: ignore[arg-type, return-value]


def test_keys_are_compared_as_in_a_dict() -> None:
    limiter = RateLimiter(0, 1, 100)
    assert limiter.allow(1)
    assert not limiter.allow(1.0)
    assert not limiter.allow(True)
    assert limiter.allow("1")
    assert not limiter.allow("".join(["1"]))
    assert limiter.allow(b"1")
    assert limiter.allow(("a", 1))
    assert not limiter.allow(("a", 1))
    assert limiter.allow(2**61)  # the same hash as 1
    assert hash(2**61) == hash(1)
    assert not limiter.allow(2**61)
    assert limiter.retry_after("new") == 0.0


def test_a_full_table_says_when_to_come_back(clock: Clock) -> None:
    limiter = RateLimiter(1, 2, 2, clock=clock)
    assert limiter.allow("a", 2)
    clock.ns += SECOND
    assert limiter.allow("b")
    assert not limiter.allow("c")
    assert limiter.retry_after("c") == 1.0
    assert limiter.refused_keys == 1
    assert limiter.max_keys == 2
    clock.ns += SECOND
    assert limiter.allow("c")
    assert len(limiter) == 1


def test_idle_keys_are_let_go(clock: Clock) -> None:
    class Key:
        pass

    limiter = RateLimiter(1, 1, 100, clock=clock)
    keys = [Key() for _ in range(50)]
    gone = [weakref.ref(key) for key in keys]
    for key in keys:
        assert limiter.allow(key)
    del key
    keys.clear()
    assert all(ref() is not None for ref in gone)
    clock.ns += SECOND
    for _ in range(30):
        limiter.allow("anyone")
        clock.ns += 1
    assert all(ref() is None for ref in gone)


def test_bytes_a_key() -> None:
    limiter = RateLimiter(0, 1, 100_000)
    empty = sys.getsizeof(limiter)
    for key in range(100_000):
        assert limiter.allow(key)
    assert sys.getsizeof(limiter) - empty <= 40 * 100_000


def test_hostile_keys() -> None:
    limiter = RateLimiter(0, 2, 5000)
    calls = itertools.count()

    class Hostile:
        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if self.name == "raises" or getattr(other, "name", "") == "raises":
                raise LookupError(self.name)
            if next(calls) < 40:  # the table grows in the middle of a search in it
                for _ in range(20):
                    limiter.allow(object())
            return isinstance(other, Hostile) and self.name == other.name

    for name in "abc":
        assert limiter.allow(Hostile(name))
        assert limiter.allow(Hostile(name))
        assert not limiter.allow(Hostile(name))
    assert next(calls) > 40
    held = len(limiter)
    with pytest.raises(LookupError):
        limiter.allow(Hostile("raises"))
    with pytest.raises(LookupError):
        limiter.retry_after(Hostile("raises"))
    assert len(limiter) == held == 3 + 40 * 20

    class Unhashable:
        def __hash__(self) -> int:
            raise LookupError("hash")

    with pytest.raises(LookupError):
        limiter.allow(Unhashable())


def test_a_key_whose_del_calls_back(clock: Clock) -> None:
    limiter = RateLimiter(1, 1, 10, clock=clock)
    seen: list[bool] = []
    names = itertools.count()

    class Key:
        def __del__(self) -> None:
            seen.append(limiter.allow(next(names)))

    for _ in range(5):
        limiter.allow(Key())
    clock.ns += SECOND
    for _ in range(5):
        limiter.allow("other")
    assert seen == [True] * 5


def test_cycles_through_keys_and_clock_are_collected() -> None:
    class Node:
        def __init__(self) -> None:
            self.limiter = RateLimiter(0, 1, 10, clock=self.now)
            self.bucket = TokenBucket(0, 1, clock=self.now)
            self.limiter.allow((self, "in a tuple"))

        def now(self) -> int:
            return 0

    ref = weakref.ref(Node())
    gc.collect()
    assert ref() is None
