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


@pytest.mark.parametrize(
    "number", [2**64, -(2**63) - 1, 10**400, -(10**5000)], ids=["2**64", "-2**63-1", "10**400", "-10**5000"]
)
def test_a_number_of_any_length_is_named_and_out_of_range(number: int) -> None:
    data = [1.0, 2.0, 3.0, 4.0]
    row = _core.Events().begin(0)
    calls = {
        "precision": [
            lambda: _core.Histogram(number),
            lambda: _core.Events(precision=number),
        ],
        "from_hdr: precision": [lambda: _core.Histogram.from_hdr("", 1000, number)],
        "seed": [
            lambda: stats.bootstrap_mean(data, seed=number),
            lambda: stats.change_points(data, seed=number),
            lambda: _core.Arrivals("poisson", 1.0, seed=number),
            lambda: perfsuite.measure_compression("zlib", [b"abc"], seed=number),
        ],
        "record_n: the count": [lambda: _core.Histogram().record_n(1.0, number)],
        "resamples": [lambda: stats.bootstrap_mean(data, resamples=number)],
        "permutations": [lambda: stats.change_points(data, permutations=number)],
        "steps": [lambda: _core.Arrivals("step", 1.0, duration_s=1.0, steps=number)],
        "take: n": [lambda: _core.Arrivals("constant", 1.0).take(number)],
        "blocks": [lambda: _core.Events(blocks=number)],
        "warmup_ns": [lambda: _core.Events(warmup_ns=number)],
        "start_ns": [lambda: _core.Events(start_ns=number)],
        "tag": [lambda: _core.Events().begin(0, number)],
        "at_ns": [lambda: row.sent(number), lambda: _core.StreamParser().feed(b"", number)],
        "max_event": [lambda: _core.StreamParser("sse", number)],
        "max_head": [lambda: _core.ResponseParser(None, number)],
        "port": [lambda: _core.Wire("localhost", number, _core.Events())],
        "queue": [lambda: _core.Wire("localhost", 1, _core.Events(), queue=number)],
        "max_body": [lambda: _core.Wire("localhost", 1, _core.Events(), max_body=number)],
        "capacity": [lambda: _core.VectorStore(1).to_bytes(number)],
    }
    for name, made in calls.items():
        for call in made:
            with pytest.raises(ValueError, match=f"^{name} must be .*, got an integer beyond 64 bits$"):
                call()
    row.end(0)


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
