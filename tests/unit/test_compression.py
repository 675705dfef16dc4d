"""Compression measurement: sizes, round trips, bad codecs, and whether the times are the truth."""

from __future__ import annotations

import math
import os
import random
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite import MissingExtra, PerfsuiteError, UsageError, _core
from perfsuite.compression import available_codecs, codec_at, measure_compression, open_codec

TEXT = b"It is a truth universally acknowledged, that a single man in possession of a good fortune " * 20


def identity(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("name", ["zlib", "bz2", "lzma", "zstd", "lz4", "brotli", "zlib:1", "zstd:19", "lz4:9",
                                  "lzma:0", "bz2:1", "brotli:3", "ZSTANDARD"])  # fmt: skip
def test_codecs_give_everything_back(name: str) -> None:
    base = {"ZSTANDARD": "zstd"}.get(name, name.partition(":")[0])
    if base not in available_codecs():
        pytest.skip(f"{base} is not installed: pip install perfsuite[codecs]")
    payloads = [TEXT, b"", os.urandom(300), TEXT[:100]]
    report = measure_compression(name, payloads, repeat=3, warmup=1)
    assert report.codec == name
    assert (report.recovered, report.mismatches, report.errors) == (1.0, (), {})
    assert report.payloads == 4
    assert report.original_bytes == sum(map(len, payloads))
    _, compress, _ = open_codec(name)
    assert report.compressed_bytes == sum(len(bytes(compress(p))) for p in payloads)
    assert report.ratio == 1 - report.compressed_bytes / report.original_bytes
    assert report.factor == report.original_bytes / report.compressed_bytes
    assert 0 < report.savings_with_overhead < report.ratio
    for timing in (report.compress_ms, report.decompress_ms, *report.compress_ms_by_payload):
        assert timing is not None
        assert 0 <= timing.min <= timing.median <= timing.p99 < 1e5
        assert timing.min <= timing.mean


def test_objects_modules_and_pairs() -> None:
    class Codec:
        def compress(self, data: bytes) -> bytes:
            return data[:1]

        def decompress(self, data: bytes) -> bytes:
            return data * 3

    report = measure_compression(Codec(), [b"aaa", b"abc", bytearray(b"bbb")])
    assert (report.codec, report.mismatches, report.recovered) == ("Codec", (1,), pytest.approx(2 / 3))
    assert (report.ratio, report.factor) == (pytest.approx(2 / 3), 3.0)
    assert measure_compression(zlib, [TEXT]).codec == "zlib"
    assert measure_compression((identity, bytearray), [TEXT]).recovered == 1.0


def test_interleaving_and_rounds() -> None:
    calls: list[tuple[str, bytes]] = []

    def compress(data: bytes) -> bytes:
        calls.append(("compress", data))
        return data

    def decompress(data: bytes) -> bytes:
        calls.append(("decompress", data))
        return data

    payloads = [bytes([i]) for i in range(6)]
    report = measure_compression((compress, decompress), payloads, repeat=5, warmup=2)
    assert report.recovered == 1
    assert len(calls) == (5 + 2) * 6 * 2
    rounds = [[data for step, data in calls[i : i + 12] if step == "compress"] for i in range(0, len(calls), 12)]
    assert all(sorted(r) == payloads for r in rounds)
    assert len({tuple(r) for r in rounds}) > 3  # another order each time
    assert all(a[1] == b[1] for a, b in zip(calls[::2], calls[1::2], strict=True))


def test_a_codec_that_fails_is_reported_and_the_rest_is_measured() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def compress(data: bytes) -> object:
        if data == b"raise":
            raise ValueError("not that one")
        if data == b"odd":
            raise Odd
        return "text" if data == b"text" else data

    def decompress(data: bytes) -> object:
        if data == b"none":
            return None
        return data + b"!" if data == b"more" else data

    payloads = [b"fine", b"raise", b"text", b"none", b"more", b"odd"]
    report = measure_compression((compress, decompress), payloads)  # type: ignore[arg-type]
    assert report.mismatches == (1, 2, 3, 4, 5)
    assert report.errors == {
        1: "compress raised ValueError: not that one",
        2: "compress raised TypeError: it returned a str, not bytes",
        3: "decompress raised TypeError: it returned a NoneType, not bytes",
        5: "compress raised Odd",
    }
    assert report.original_bytes == 8
    assert report.compress_ms_by_payload[1] is None
    assert report.recovered == pytest.approx(1 / 6)
    with pytest.raises(PerfsuiteError, match="failed on every payload; the first: compress raised ValueError"):
        measure_compression((compress, decompress), [b"raise"])  # type: ignore[arg-type]


def test_a_codec_that_forgets_is_caught_in_any_round() -> None:
    state = {"calls": 0}

    def decompress(data: bytes) -> bytes:
        state["calls"] += 1
        return b"?" if state["calls"] == 7 else data

    assert measure_compression((identity, decompress), [b"a"], repeat=10, warmup=0).mismatches == (0,)
    state["calls"] = 100
    assert measure_compression((identity, decompress), [b"a"], repeat=10, warmup=0).mismatches == ()


def test_a_codec_that_changes_what_it_returned_or_was_given() -> None:
    kept: list[bytearray] = []

    def compress(data: bytes) -> bytearray:
        kept.append(bytearray(data))
        return kept[-1]

    def decompress(data: bytes) -> bytes:
        result = bytes(data)
        for old in kept:
            old.clear()
        kept.clear()
        return result

    original = bytearray(b"mine")
    assert measure_compression((compress, decompress), [original]).recovered == 1
    assert original == b"mine"


def test_interrupts_are_not_swallowed() -> None:
    def compress(data: bytes) -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_compression((compress, identity), [b"a", b"b"])


def test_calls_in_a_row_are_as_many_as_asked_for_and_end_with_an_error() -> None:
    held: list[int] = []

    class Result:
        alive = 0

        def __init__(self, data: bytes) -> None:
            Result.alive += 1
            held.append(Result.alive)

        def __del__(self) -> None:
            Result.alive -= 1

    assert _core._calls_in_a_row(Result, b"x", 5) > 0
    assert held == [1, 2, 3, 4, 5]  # what they return is let go of when the clock has been read
    assert Result.alive == 0

    def fail(data: bytes) -> Result:
        if len(held) == 8:
            raise LookupError
        return Result(data)

    with pytest.raises(LookupError):
        _core._calls_in_a_row(fail, b"x", 5)
    assert (len(held), Result.alive) == (8, 0)
    for times in (0, -1, 10**7):
        with pytest.raises(ValueError, match="times"):
            _core._calls_in_a_row(identity, b"x", times)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_entropy(payloads: list[bytes]) -> None:
    whole = b"".join(payloads)
    expected = -sum(n / len(whole) * math.log2(n / len(whole)) for n in Counter(whole).values()) if whole else 0.0
    assert _core.byte_entropy(tuple(payloads)) == pytest.approx(expected, abs=1e-12)


def test_entropy_is_a_yardstick() -> None:
    rng = random.Random(1)
    noise = rng.randbytes(100_000)
    report = measure_compression("zlib", [noise], repeat=1, warmup=0)
    assert report.entropy_bits_per_byte == pytest.approx(8, abs=0.01)
    assert report.ratio < 0
    assert measure_compression("zlib", [bytes(1000)], repeat=1).entropy_bits_per_byte == 0


def test_times_are_of_the_call_alone() -> None:
    """By nesting, whatever the machine is at: what a codec takes by its own clock lies within what is reported of it,
    and what is reported of one half lies within the whole less what the other half takes."""

    def timed(own: list[int], seconds: float) -> Callable[[bytes], bytes]:
        def call(data: bytes) -> bytes:
            start = time.perf_counter_ns()
            time.sleep(seconds)
            own.append(time.perf_counter_ns() - start)
            return data

        return call

    for slow_half in (0, 1):
        own: tuple[list[int], list[int]] = [], []
        codec = (timed(own[0], 0.002 * (slow_half == 0)), timed(own[1], 0.002 * (slow_half == 1)))
        start = time.perf_counter_ns()
        report = measure_compression(codec, [b"a", b"b"], repeat=5, warmup=0)
        whole = time.perf_counter_ns() - start
        for half, spread in enumerate((report.compress_ms, report.decompress_ms)):
            reported = spread.mean * len(own[half]) * 1e6
            assert reported >= sum(own[half])
            assert reported <= whole - sum(own[1 - half]), "of the other half, or of the loop around it"


def test_isolated() -> None:
    report = measure_compression("zlib", [TEXT[:100]] * 3, isolate=True)
    assert report.recovered == 1
    assert report.compressed_bytes == 3 * len(zlib.compress(TEXT[:100]))
    with pytest.raises(UsageError, match="another process"):
        measure_compression((lambda data: data, identity), [b"a"], isolate=True)
    with pytest.raises(PerfsuiteError, match="failed on every payload"):
        measure_compression((zlib.compress, zlib.compressobj), [b"a"], isolate=True)  # type: ignore[arg-type]


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"unknown codec 'zlob'.*zlib"):
        measure_compression("zlob", [b"a"])
    with pytest.raises(UsageError, match="level"):
        measure_compression("zlib:fast", [b"a"])
    with pytest.raises(UsageError, match="no payloads"):
        measure_compression("zlib", [])
    with pytest.raises(UsageError, match="repeat 0"):
        measure_compression("zlib", [b"a"], repeat=0)
    with pytest.raises(UsageError, match="int has not"):
        measure_compression(7, [b"a"])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="pair"):
        measure_compression((identity, 3), [b"a"])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        measure_compression("zlib", ["text"])  # type: ignore[list-item]
    for module in ("zstandard", "lz4.block", "brotli"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    for name in ("zstd", "lz4", "brotli"):
        with pytest.raises(MissingExtra, match=r'pip install "perfsuite\[codecs\]"'):
            measure_compression(name, [b"a"])


@pytest.mark.parametrize(
    ("codec", "usual", "strongest"),
    [
        ("zlib", "zlib-6", "zlib-9"),
        ("bz2", "bz2-9", "bz2-9"),
        ("lzma", "lzma-6", "lzma-9e"),
        ("zstandard", "zstd-3", "zstd-19"),
        ("lz4", "lz4-1", "lz4-12"),
        ("brotli", "brotli-11", "brotli-11"),
        ("none", "none", "none"),
    ],
)
def test_a_codec_has_a_usual_and_a_strongest_setting(codec: str, usual: str, strongest: str) -> None:
    if codec not in ("none", "zstandard", *available_codecs()) or (
        codec == "zstandard" and "zstd" not in available_codecs()
    ):
        pytest.skip(f"{codec} is not installed")
    weak, strong = codec_at(codec), codec_at(codec, strongest=True)
    assert (weak.name, strong.name) == (usual, strongest)
    text = TEXT * 20
    assert weak.decompress(weak.compress(text)) == strong.decompress(strong.compress(text)) == text
    assert len(strong.compress(text)) <= len(weak.compress(text))
    assert (len(weak.compress(text)) == len(text)) == (codec == "none")
