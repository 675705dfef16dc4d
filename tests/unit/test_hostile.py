"""Arguments that a caller may get wrong: the right exception, whatever the state of the object."""

from __future__ import annotations

import inspect
import math
import signal
from pathlib import Path

import numpy as np
import pytest

import perfsuite
from perfsuite import _core, stats
from perfsuite.errors import UsageError


@pytest.mark.parametrize("number", [2**31, 2**63, 10**30, -(10**30)])
def test_a_size_of_any_length_is_out_of_range_not_an_overflow(number: int) -> None:
    for make in (
        perfsuite.Histogram,
        perfsuite.LRUCache,
        lambda size: perfsuite.EmbeddingCache(maxsize=size),
        lambda size: perfsuite.RateLimiter(1, 1, size * 2),
    ):
        with pytest.raises(ValueError, match=r"must be .*(not|got|is) |is -?\d+; it must be"):
            make(number)


def test_a_key_may_be_named() -> None:
    limiter = perfsuite.RateLimiter(0, 2, 3)
    inspect.signature(limiter.allow).bind(key="a", n=1)  # what it promises
    assert limiter.allow(key="a")
    assert limiter.allow(n=1, key="a")
    assert not limiter.allow("a")
    assert limiter.retry_after(key="b", n=2) == 0.0
    for wrong in ({}, {"n": 1}, {"key": 1, "m": 1}):
        with pytest.raises(TypeError):
            limiter.allow(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="by place and by name"):
        limiter.allow("a", key="a")  # type: ignore[misc]
    with pytest.raises(TypeError):
        limiter.allow("a", 1, 2)  # type: ignore[call-arg]


def test_a_time_out_is_looked_at_even_if_nobody_has_to_wait() -> None:
    bucket = perfsuite.TokenBucket(1, 5)
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match="timeout"):
            bucket.acquire(1, wrong)
    assert bucket.available == pytest.approx(5)


def test_what_is_no_text_or_payload_is_named() -> None:
    with pytest.raises(TypeError, match="recovered must be a str, not int"):
        perfsuite.text_preservation("a", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"payloads\[1\] is of type str"):
        perfsuite.measure_compression("zlib", [b"a", "b"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"give \[data\]"):
        perfsuite.measure_compression("zlib", b"abc")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="level"):
        perfsuite.measure_compression("zlib:--1", [b"a"])
    with pytest.raises(TypeError):
        perfsuite.measure_compression("zlib", [b"a"], repeat="2")  # type: ignore[arg-type]


def test_complex_numbers_are_no_vector() -> None:
    cache = perfsuite.EmbeddingCache()
    with pytest.raises(TypeError, match="complex"):
        cache.put("a", np.ones(3, dtype=complex))
    assert len(cache) == 0


def test_a_path_may_be_bytes(tmp_path: Path) -> None:
    with perfsuite.EmbeddingCache(bytes(tmp_path / "cache")) as cache:  # type: ignore[arg-type]
        cache.put("a", [1.0])
    assert (tmp_path / "cache").exists()


def test_a_ratio_beyond_the_doubles_is_infinite() -> None:
    found = stats.compare([1e-300, 1.1e-300], [1e300, 1.1e300])
    assert found.ratio == found.high == math.inf
    assert found.verdict == "regressed"
    assert stats.compare([1e300, 1.1e300], [1e-300, 1.1e-300]).ratio == 0.0


def test_many_arrivals_hear_a_signal() -> None:
    def stop(*_: object) -> None:
        raise TimeoutError

    arrivals = _core.Arrivals("constant", 1e9)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        with pytest.raises(TimeoutError):
            arrivals.take(10_000_000)
        assert next(arrivals) < 10_000_000  # not after having made all of them
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
