"""How near the measured time of a small call is to its true one, and what measuring costs beside timing in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import pytest

import perfsuite
from perfsuite._core import _calls_in_a_row
from perfsuite.compression import available_codecs, keep_freed_memory, measure_compression, open_codec

Contenders = dict[str, tuple[Callable[[], object], int]]
missing: dict[str, str] = {}
PAYLOAD = (b"The sea was calm, and of the colour of slate; and yet nobody on board of the ship had slept well...")[:100]
CALLS = 1_000


def true_ns(codec: str, calls: int = 50) -> float:
    """The time of one round trip without a clock around each call.

    What `calls` more of them in a row take: so neither the two clock readings nor the start of a row, when the
    processor has yet to find its way, are in it.  The calls are made from C as the measuring loop makes them, for the
    walk of a Python iterator costs more around a codec than around nothing, and could not be taken off.
    """
    _, compress, decompress = open_codec(codec)
    packed = compress(PAYLOAD)

    def row(times: int) -> int:
        return _calls_in_a_row(compress, PAYLOAD, times) + _calls_in_a_row(decompress, packed, times)

    short, long = [], []
    for _ in range(200):
        short.append(row(calls))
        long.append(row(2 * calls))
    return (median(long) - median(short)) / calls


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


def timing_error_apart(codec: str) -> dict[str, float]:
    """The same in percent, in a process of its own, where the allocator keeps what it has as with isolate=True."""
    if codec not in available_codecs():
        missing[codec] = "not installed: pip install perfsuite[codecs]"
        return {}
    package = str(Path(perfsuite.__file__).parent.parent)
    found_in = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    command, environment = [sys.executable, __file__, codec], os.environ | {"PYTHONPATH": found_in}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return {"perfsuite": abs(json.loads(done.stdout)["error"]) * 100}


FIGURES = [
    (f"codec timing error, {codec}, 100 bytes", "%", partial(timing_error_apart, codec), 3.0)
    for codec in ("zlib", "zstd", "lz4")
]


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
    keep_freed_memory()
    error, truth = timing_error(sys.argv[1])
    print(json.dumps({"error": error, "true_ns": truth}))
