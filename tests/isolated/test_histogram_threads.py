"""One histogram, many threads: nothing is lost.  Nor is anything leaked.

record_many counts long buffers without the GIL.  The negative control is an extension built with PFS_NO_LOCK, whose
record_many writes to the shared histogram without it: the same script must catch that one losing counts.
"""

from __future__ import annotations

import gc
import math
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from compilers import ROOT
from perfsuite import Histogram, Stopwatch

SCRIPT = """
import sys, threading
from array import array
from perfsuite import Histogram

sys.setswitchinterval(1e-5)
THREADS, ROUNDS = 4, 6
VALUES = array("d", [float(1 + i % 1000) for i in range(200_000)])
FEW = VALUES[:1000]
histogram = Histogram()
histogram.record_many(FEW)  # so that its window need not grow: the control is to lose counts, not to crash
barrier = threading.Barrier(2 * THREADS)

def many():
    barrier.wait()
    for _ in range(ROUNDS):
        histogram.record_many(VALUES)

def single():
    barrier.wait()
    for _ in range(ROUNDS):
        for value in FEW:
            histogram.record(value)
        histogram.quantile(0.99), histogram.mean, histogram.to_bytes()

threads = [threading.Thread(target=work) for work in (many, single) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
times = 1 + THREADS * ROUNDS * (200 + 1)
counts = [count for _, _, count in histogram.buckets()]
single = Histogram()
single.record_many(FEW)
assert histogram.count == times * 1000, f"lost: {times * 1000 - histogram.count} of {times * 1000}"
assert histogram.sum == times * sum(FEW), "the sum is off"
assert counts == [times * count for _, _, count in single.buckets()], "a bucket is off"
"""


def run_script(package_root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(package_root)})  # fmt: skip


def test_threads_lose_nothing() -> None:
    done = run_script(ROOT / "python")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler: apt-get install gcc")
def test_without_the_lock_the_script_catches_it(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "python/perfsuite", tmp_path / "perfsuite", ignore=ignore)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-b", str(tmp_path), "-t", str(tmp_path / "objects")],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PERFSUITE_BUILD": "debug", "PERFSUITE_DEFINE": "PFS_NO_LOCK"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    done = run_script(tmp_path)
    assert done.returncode != 0, "the race went unseen"
    assert "AssertionError" in done.stderr or done.returncode < 0, done.stderr[-2000:]


def ran_during(call: Callable[[], object]) -> bool:
    """Whether another thread, waiting for nothing but the GIL, gets it during the call."""
    gate, ran = threading.Lock(), threading.Event()
    gate.acquire()

    def wait() -> None:
        with gate:
            ran.set()

    thread = threading.Thread(target=wait)
    thread.start()
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody is made to give the GIL up
    try:
        gate.release()
        call()
        return ran.is_set()
    finally:
        sys.setswitchinterval(before)
        thread.join()


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to be released")
def test_record_many_releases_the_gil_for_long_buffers_only() -> None:
    many, few = array("d", [1.5]) * 4_000_000, array("d", [1.5]) * 1000
    histogram = Histogram()
    assert any(ran_during(lambda: histogram.record_many(many)) for _ in range(20))
    assert not any(ran_during(lambda: histogram.record_many(few)) for _ in range(20))


def test_a_histogram_viewed_while_threads_record() -> None:
    histogram = Histogram()
    over = threading.Event()

    def view() -> None:
        while not over.is_set():
            with memoryview(histogram) as counts:
                sum(counts)

    viewers = [threading.Thread(target=view) for _ in range(3)]
    for thread in viewers:
        thread.start()
    for octave in range(40):
        for _ in range(300):
            histogram.record(2.0**octave)
    over.set()
    for thread in viewers:
        thread.join()
    assert [count for _, _, count in histogram.buckets()] == [300] * 40
    assert sum(memoryview(histogram)) == histogram.count == 12_000


def churn() -> None:
    histogram = Histogram()
    histogram.record_many([0.0, math.nan, 1e-3, 1e18])
    for value in (1.0, 5, -1.0):
        histogram.record(value)
    with memoryview(histogram):
        histogram.record_many(array("d", [3.0]) * 5000)
        histogram.record(1e-6)
    watch = Stopwatch(histogram)
    watch.start()
    watch.stop()
    make, arguments = (histogram + histogram.copy()).__reduce__()  # pickle's own strings stay in the type cache
    other = make(*arguments)
    other += histogram
    assert Histogram.from_bytes(other.to_bytes()) == other
    small = Histogram()
    small.record(3.0)
    Histogram.from_hdr(small.to_hdr())
    repr(other), other.buckets(), other.edges(), other.rejected, other.quantiles([0.1, 0.9])
    for bad in (lambda: other.merge(Histogram(3)), lambda: Histogram.from_bytes(b"PFSH"), lambda: Histogram(99),
                lambda: Histogram.from_hdr("AAAA"), lambda: other.to_hdr(), lambda: other.quantiles([0.5, 2]),
                lambda: other.record_many([1.0] * 3000 + ["x"]), watch.lap):  # fmt: skip
        try:
            bad()
        except (ValueError, TypeError, OverflowError, RuntimeError):
            continue
        raise AssertionError("nothing was raised")


def grown(work: Callable[[], object]) -> int:
    """Bytes that tracemalloc (which sees the core's allocations too) counts as kept by 20 rounds of work."""
    for _ in range(3):
        work()
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_nothing_leaks() -> None:
    assert grown(churn) < 2_000


def test_a_leak_would_be_seen() -> None:
    kept: list[Histogram] = []
    assert grown(lambda: kept.append(Histogram())) > 20_000
