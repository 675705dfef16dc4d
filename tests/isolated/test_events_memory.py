"""Every allocation that recording makes, failing in turn through the extension: MemoryError or success, never a crash,
and the recorder still works and still counts every request."""

from __future__ import annotations

import pytest

from perfsuite._core import Events, Row

_testcapi = pytest.importorskip("_testcapi", reason="this Python was built without its test module")

START = 10**9


def record(events: Events, rows: list[Row]) -> None:
    """A load that grows the slab, the seconds, the slices, the raw rows, and reads them."""
    for i in range(40):
        row = events.begin(START + i * 4 * 10**9)
        rows.append(row)
        row.token(at_ns=START + i * 4 * 10**9 + 1000)
        row.token(at_ns=START + i * 4 * 10**9 + (1000 << i % 20))
    for row in rows:
        row.end()
    events.histogram("itl")
    events.blocks("itl")
    events.windows()
    events.drain_rows()


def failing_at(nth: int) -> tuple[bool, Events | None, int]:
    """The load with its nth allocation failing: whether it went through, and what is left of it."""
    rows: list[Row] = []
    events = None
    _testcapi.set_nomemory(nth, nth + 1)
    try:
        events = Events(raw=True, blocks=2, start_ns=START)
        record(events, rows)
        through = True
    except MemoryError:
        through = False
    finally:
        _testcapi.remove_mem_hooks()
    return through, events, len(rows)


def test_memory_that_fails_crashes_nothing_and_loses_no_request() -> None:
    failed = 0
    for nth in range(1, 4000):
        through, events, begun = failing_at(nth)
        if through and begun == 40 and nth > 500:
            break
        failed += not through
        if events is None:
            continue
        counted = events.completed + events.cancelled
        assert begun <= counted <= begun + 1, f"allocation {nth}: a row that found no object is cancelled, not lost"
        assert events.in_flight == events.waiting == 0
        before = events.completed
        events.begin(START).end()
        assert events.completed == before + 1
        assert events.histogram("response_time").count + events.unrecorded >= before + 1
    assert failed > 100


def test_without_a_failure_it_goes_through() -> None:
    through, events, begun = failing_at(10**9)
    assert through
    assert events is not None
    assert events.completed == begun == 40
    assert events.unrecorded == 0
