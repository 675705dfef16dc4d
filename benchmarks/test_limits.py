"""One check of a rate limiter, that passes: ours and the peers', for one bucket and by key."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from perfsuite.limits import RateLimiter, TokenBucket

Contenders = dict[str, tuple[Callable[[], object], int]]
CHECKS = 1000
RATE, CAPACITY = 1e9, 1e9  # so high that every check passes
KEYS = [f"user {i}" for i in range(CHECKS)]

missing: dict[str, str] = {}
loops: list[asyncio.AbstractEventLoop] = []  # that contenders run in


def close() -> None:
    """Closes what contenders opened."""
    while loops:
        loops.pop().close()


@pytest.fixture(autouse=True)
def close_loops() -> Iterator[None]:
    yield
    close()


class PythonBucket:
    """The same in Python: GCRA with a float clock."""

    def __init__(self, rate: float, capacity: float) -> None:
        self.period, self.burst, self.full_at = 1 / rate, capacity / rate, 0.0

    def try_acquire(self, n: float = 1) -> bool:
        now = time.monotonic()
        full_at = max(self.full_at, now) + n * self.period
        if full_at - now > self.burst:
            return False
        self.full_at = full_at
        return True


def repeated(check: Callable[[], object]) -> Callable[[], object]:
    def checks() -> None:
        for _ in range(CHECKS):
            check()

    return checks


def by_key(check: Callable[[str], object]) -> Callable[[], object]:
    def checks() -> None:
        for key in KEYS:
            check(key)

    return checks


def absent(peer: str, error: ImportError) -> None:
    missing[peer] = f"not installed: {error}"


def contenders() -> Contenders:
    found: dict[str, Callable[[], object]] = {
        "perfsuite": repeated(TokenBucket(RATE, CAPACITY).try_acquire),
        "python": repeated(PythonBucket(RATE, CAPACITY).try_acquire),
    }
    try:
        import token_bucket  # type: ignore[import-untyped]

        limiter = token_bucket.Limiter(RATE, int(CAPACITY), token_bucket.MemoryStorage())
        found["token-bucket"] = repeated(lambda: limiter.consume("k"))
    except ImportError as error:
        absent("token-bucket", error)
    try:
        from aiolimiter import AsyncLimiter

        async def acquire_all() -> None:
            bucket = AsyncLimiter(1e9, 1.0)
            for _ in range(CHECKS):
                await bucket.acquire()

        loop = asyncio.new_event_loop()
        loops.append(loop)
        found["aiolimiter"] = lambda: loop.run_until_complete(acquire_all())
    except ImportError as error:
        absent("aiolimiter", error)
    found.update(_keyed_libraries(lambda check: repeated(lambda: check("k"))))
    return {name: (run, CHECKS) for name, run in found.items()}


def contenders_by_key() -> Contenders:
    buckets: dict[str, PythonBucket] = {}

    def python(key: str) -> bool:
        bucket = buckets.get(key)
        if bucket is None:
            bucket = buckets[key] = PythonBucket(RATE, CAPACITY)
        return bucket.try_acquire()

    found: dict[str, Callable[[], object]] = {
        "perfsuite": by_key(RateLimiter(1.0, 1e12, 10 * CHECKS).allow),
        "python": by_key(python),
        **_keyed_libraries(by_key),
    }
    try:
        import token_bucket

        found["token-bucket"] = by_key(token_bucket.Limiter(RATE, int(CAPACITY), token_bucket.MemoryStorage()).consume)
    except ImportError as error:
        absent("token-bucket", error)
    return {name: (run, CHECKS) for name, run in found.items()}


def _keyed_libraries(
    wrap: Callable[[Callable[[str], object]], Callable[[], object]],
) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    try:
        from limits import RateLimitItemPerSecond
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        strategy, item = FixedWindowRateLimiter(MemoryStorage()), RateLimitItemPerSecond(10**9)
        found["limits"] = wrap(lambda key: strategy.hit(item, key))
    except ImportError as error:
        absent("limits", error)
    try:
        from pyrate_limiter import Duration, InMemoryBucket, Limiter, Rate

        # It keeps every hit of the window; a short one keeps that list from deciding the result.
        pyrate = Limiter(InMemoryBucket([Rate(10**9, Duration.SECOND)]))
        found["pyrate-limiter"] = wrap(lambda key: pyrate.try_acquire(key, blocking=False))
    except ImportError as error:
        absent("pyrate-limiter", error)
    return found


def bytes_per_key() -> dict[str, float]:
    """Bytes that 100,000 live keys take, beyond the key objects (which exist before them)."""
    keys = [f"user {i}" for i in range(100_000)]

    def traced(make: Callable[[], object]) -> float:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            kept = make()
            return (tracemalloc.get_traced_memory()[0] - before) / len(keys)
        finally:
            tracemalloc.stop()
            del kept

    def ours() -> object:
        limiter = RateLimiter(1e-6, 2.0, len(keys))
        for key in keys:
            limiter.allow(key)
        if len(limiter) != len(keys):
            raise AssertionError(f"{len(limiter)} of {len(keys)} keys are live")
        return limiter

    return {"perfsuite": traced(ours), "python": traced(lambda: {key: PythonBucket(RATE, CAPACITY) for key in keys})}


PEERS = [("limiter check", contenders), ("limiter check by key", contenders_by_key)]
GOALS = {
    "limiter check": {"python": 3.5, "token-bucket": 10.0, "aiolimiter": 10.0, "limits": 10.0, "pyrate-limiter": 10.0},
    "limiter check by key": {"python": 3.5, "token-bucket": 10.0, "limits": 10.0, "pyrate-limiter": 10.0},
}
FIGURES = [("keyed limiter, a key", "bytes", bytes_per_key, 40.0)]

CHECKED = ["perfsuite", "python", "token-bucket", "aiolimiter", "limits", "pyrate-limiter"]


def measured(benchmark: object, built: Contenders, name: str) -> None:
    if name not in built:
        pytest.skip(missing.get(name, f"{name} does not do this"))
    benchmark.pedantic(built[name][0], rounds=20, warmup_rounds=2)  # type: ignore[attr-defined]


@pytest.mark.benchmark(group="limiter check, 1,000 of them")
@pytest.mark.parametrize("name", CHECKED)
def test_check(benchmark: object, name: str) -> None:
    measured(benchmark, contenders(), name)


@pytest.mark.benchmark(group="limiter check by key, 1,000 keys")
@pytest.mark.parametrize("name", [name for name in CHECKED if name != "aiolimiter"])
def test_check_by_key(benchmark: object, name: str) -> None:
    measured(benchmark, contenders_by_key(), name)
