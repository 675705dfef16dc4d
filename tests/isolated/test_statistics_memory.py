"""Statistics, text and compression through the extension: each allocation fails in turn, and nothing leaks."""

from __future__ import annotations

import gc
import sys
import threading
import zlib
from array import array
from collections.abc import Callable

import pytest

from perfsuite import _core

_testcapi = pytest.importorskip("_testcapi", reason="this Python was built without its test module")

DATA = array("d", (float(i * i % 97) for i in range(120)))
LIST = list(DATA)
PAYLOADS = (b"abcabcabc" * 20, b"x", b"")
TEXT, OTHER = "one two three four five six " * 9, "two one three six five " * 9


def fails_half(data: bytes) -> bytes:
    if data == b"x":
        raise ValueError("no")
    return bytes(data)


CALLS: dict[str, Callable[[], object]] = {
    "quantile_interval": lambda: _core.quantile_interval(LIST, 0.5, 0.95),
    "exact_quantiles": lambda: _core.exact_quantiles(LIST, (0.1, 0.9)),
    "moments": lambda: _core.moments(LIST),
    "bootstrap_mean": lambda: _core.bootstrap_mean(DATA, 0.95, 100, 1),
    "mann_whitney": lambda: _core.mann_whitney(DATA, LIST, 0),
    "theil_sen": lambda: _core.theil_sen(DATA, None, 0.95, 0.0),
    "effective_size": lambda: _core.effective_size(LIST),
    "change_points": lambda: _core.change_points(DATA, 3, 0.05, 99, 1),
    "text_overlap": lambda: _core.text_overlap(TEXT, OTHER, TEXT, OTHER),
    "clean_text": lambda: _core.clean_text(TEXT + "\0"),
    "word_line": lambda: _core.word_line(TEXT),
    "measure_codec": lambda: _core.measure_codec(zlib.compress, zlib.decompress, PAYLOADS, 3, 1, 0),
    "measure_failing_codec": lambda: _core.measure_codec(fails_half, fails_half, PAYLOADS, 3, 1, 0),
    "byte_entropy": lambda: _core.byte_entropy(PAYLOADS),
}


def untimed(result: object) -> object:
    """A result without its measured times."""
    return (*result[:2], *result[4:]) if isinstance(result, tuple) and len(result) == 6 else result


@pytest.mark.parametrize("name", CALLS)
def test_each_allocation_may_fail(name: str) -> None:
    call = CALLS[name]
    wanted = untimed(call())
    failed = passed = 0
    for nth in range(1, 3000):
        result = None
        _testcapi.set_nomemory(nth, nth + 1)
        try:
            result = call()
        except (MemoryError, zlib.error):
            failed += 1
            continue
        finally:
            _testcapi.remove_mem_hooks()
        if untimed(result) == wanted:
            passed += 1
            if passed > 20:  # beyond its last allocation
                break
        else:  # a codec that itself ran out of memory is reported as one that failed
            assert name.startswith("measure"), (nth, result)
    assert failed >= (1 if name != "byte_entropy" else 0)
    assert passed > 20
    assert untimed(call()) == wanted


def least_growth(call: Callable[[], object]) -> int:
    """Blocks that 100 calls leave behind: the least of five times, for what else lives in the process (a thread that an
    earlier test left, an interpreter's caches) allocates now and then, and a leak each time."""
    for _ in range(20):
        call()
    growth = []
    for _ in range(5):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(100):
            call()
        gc.collect()
        growth.append(sys.getallocatedblocks() - before)
    return min(growth)


@pytest.mark.parametrize("name", CALLS)
def test_nothing_leaks(name: str) -> None:
    assert least_growth(CALLS[name]) < 50, "a block a call would be 100"


def test_the_leak_test_sees_a_leak() -> None:
    kept: list[object] = []
    assert least_growth(lambda: kept.append(_core.word_line(TEXT))) >= 50


def test_threads_share_their_input() -> None:
    """Eight threads on one array at once: every answer is that of one thread."""
    wanted = {name: untimed(CALLS[name]()) for name in CALLS}
    barrier = threading.Barrier(8)
    wrong: list[str] = []

    def work() -> None:
        barrier.wait()
        for _ in range(10):
            wrong.extend(name for name in CALLS if untimed(CALLS[name]()) != wanted[name])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
