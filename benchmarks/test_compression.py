"""How near the measured time of a small call is to its true one, and what measuring costs beside timing in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import pytest

import perfsuite
from perfsuite._core import _noop
from perfsuite.compression import available_codecs, keep_freed_memory, measure_compression, open_codec

Contenders = dict[str, tuple[Callable[[], object], int]]
missing: dict[str, str] = {}
PAYLOAD = (b"The sea was calm, and of the colour of slate; and yet nobody on board of the ship had slept well...")[:100]
CALLS = 1_000


def true_ns(codec: str, calls: int = 50) -> float:
    """The time of one round trip without a clock around each call: the median of runs of many in a row.

    map() makes the calls from C, as the measuring loop does; what walking the arguments and keeping the results takes
    is measured with a function that does nothing in place of the codec, and taken off.
    """
    _, compress, decompress = open_codec(codec)
    packed = compress(PAYLOAD)

    def run(call: Callable[[bytes], object], argument: object) -> int:
        start = perf_counter_ns()
        kept = list(map(call, repeat(argument, calls)))  # type: ignore[arg-type]
        taken = perf_counter_ns() - start
        kept.clear()  # releasing what a codec returned is not its work
        return taken

    trips, empty = [], []
    for _ in range(400):
        trips.append(run(compress, PAYLOAD) + run(decompress, packed))
        empty.append(2 * run(_noop, PAYLOAD))
    return (median(trips) - median(empty)) / calls


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
