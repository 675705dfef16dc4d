"""Rows from many threads, and memory that comes back."""

from __future__ import annotations

import gc
import threading
import tracemalloc

from perfsuite._core import EVENT_METRICS, Events

THREADS = 4
ROUNDS = 300


def test_threads_lose_no_row_and_no_token() -> None:
    events = Events(raw=True)
    barrier = threading.Barrier(THREADS + 1)
    drained: list[bytes] = []
    problems: list[BaseException] = []

    def work() -> None:
        try:
            barrier.wait()
            for i in range(ROUNDS):
                row, dropped = events.begin(), events.begin()
                row.sent()
                for _ in range(5):
                    row.token(2)
                row.end(i % 2)
                del dropped
        except BaseException as error:  # noqa: BLE001  shown by the test
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    for _ in range(20):
        drained.append(events.drain_rows())
        events.windows()
        for name in EVENT_METRICS:
            events.histogram(name)
            events.blocks(name)
    for thread in threads:
        thread.join()
    drained.append(events.drain_rows())
    assert problems == []
    assert events.started == 2 * THREADS * ROUNDS
    assert events.completed == events.failed == THREADS * ROUNDS // 2
    assert events.cancelled == THREADS * ROUNDS
    assert events.histogram("itl").count == THREADS * ROUNDS * 4
    assert sum(events.windows()["tokens"]) == THREADS * ROUNDS * 10
    assert sum(map(len, drained)) == 2 * THREADS * ROUNDS * 104
    assert events.in_flight == events.waiting == 0


def churn() -> None:
    events = Events(raw=True, objectives={"ttft": 1.0})
    for i in range(200):
        row = events.begin(None, i)
        row.token()
        row.token()
        if i % 3:
            row.end(i % 16)
    for name in EVENT_METRICS:
        events.blocks(name)
        events.histogram(name)
    events.windows()
    events.drain_rows()
    try:
        Events(objectives={"ttft": 1.0, "wrong": 2.0})
    except ValueError:
        pass
    else:
        raise AssertionError


def grown(work: object) -> int:
    """Bytes that tracemalloc (which sees the core's allocations too) counts as kept by 20 rounds of work."""
    for _ in range(5):
        work()  # type: ignore[operator]
    gc.collect()
    tracemalloc.start()
    try:
        work()  # type: ignore[operator]
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            work()  # type: ignore[operator]
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_nothing_leaks() -> None:
    assert grown(churn) < 2_000


def test_a_leak_would_be_seen() -> None:
    kept: list[Events] = []
    assert grown(lambda: kept.append(Events())) > 20_000
