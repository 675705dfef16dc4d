"""How near the measured time of a small call is to its true one, and what measuring costs beside timing in Python."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from statistics import median
from time import perf_counter_ns

import pytest

from perfsuite.compression import available_codecs, keep_freed_memory, measure_compression, open_codec

Contenders = dict[str, tuple[Callable[[], object], int]]
missing: dict[str, str] = {}
PAYLOAD = (b"The sea was calm, and of the colour of slate; and yet nobody on board of the ship had slept well...")[:100]
CALLS = 1_000


def true_ns(codec: str, trips: int = 50) -> float:
    """The time of one round trip without a clock around each: the median of runs of many in a row.

    The interpreter's way to the two calls, some 30 ns, is in it, and not in what is measured.
    """
    _, compress, decompress = open_codec(codec)
    runs = range(trips)
    trips_ns, loops_ns = [], []
    for _ in range(200):
        start = perf_counter_ns()
        for _ in runs:
            decompress(compress(PAYLOAD))  # type: ignore[arg-type]
        middle = perf_counter_ns()
        for _ in runs:
            pass
        trips_ns.append(middle - start)
        loops_ns.append(perf_counter_ns() - middle)
    return (median(trips_ns) - median(loops_ns)) / trips


def timing_error(codec: str) -> tuple[float, float]:
    """(relative error of what is measured of a round trip of 100 bytes, its true nanoseconds).

    Both by turns, and the median of nine: the machine's speed changes by more than the error looked for.
    """
    errors, truths = [], []
    for _ in range(9):
        truth = 0.5 * true_ns(codec)
        report = measure_compression(codec, [PAYLOAD], repeat=5_000, warmup=50)
        truth += 0.5 * true_ns(codec)
        truths.append(truth)
        errors.append((report.compress_ms.median + report.decompress_ms.median) * 1e6 / truth - 1.0)
    return median(errors), min(truths)


def timed_in_python() -> None:
    """The usual way: two clock readings and a list, in Python."""
    compress, decompress, times = zlib.compress, zlib.decompress, []
    for _ in range(CALLS):
        start = perf_counter_ns()
        packed = compress(PAYLOAD)
        middle = perf_counter_ns()
        back = decompress(packed)
        times.append((middle - start, perf_counter_ns() - middle))
        if back != PAYLOAD:
            raise AssertionError


def contenders() -> Contenders:
    """Measuring 1,000 round trips of 100 bytes: the codec's own time is in both."""
    return {
        "perfsuite": (lambda: measure_compression("zlib", [PAYLOAD], repeat=CALLS, warmup=0), CALLS),
        "plain Python": (timed_in_python, CALLS),
    }


PEERS: list[tuple[str, Callable[[], Contenders]]] = [("measure 1,000 round trips of 100 bytes", contenders)]


@pytest.mark.parametrize("label", ["perfsuite", "plain Python"])
def test_measuring(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    benchmark.group = PEERS[0][0]
    benchmark(contenders()[label][0])


@pytest.mark.parametrize("codec", ["zlib", "bz2", "lzma", "zstd", "lz4", "brotli"])
def test_codec(benchmark, codec: str) -> None:  # type: ignore[no-untyped-def]
    if codec not in available_codecs():
        pytest.skip(f"{codec}: not installed: pip install perfsuite[codecs]")
    benchmark.group = "compress 10 KB"
    _, compress, _ = open_codec(codec)
    benchmark(compress, PAYLOAD * 100)


if __name__ == "__main__":
    # A process of its own: the allocator keeps what it has, as with isolate=True.
    keep_freed_memory()
    for name in ("zlib", "zstd", "lz4"):
        if name not in available_codecs():
            continue
        error, truth = timing_error(name)
        print(f"{name:8} true {truth:9.0f} ns   measured {100 * error:+.1f} %")
