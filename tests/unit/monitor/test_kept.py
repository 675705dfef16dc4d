"""What a monitor keeps: exact, bounded, and whole after anything."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from perfsuite._core import Histogram
from perfsuite.analysis.alarms import Alarm, merged
from perfsuite.errors import UsageError
from perfsuite.monitor.store import HOUR, KEPT_S, LEAST_BYTES, MINUTE, SECOND, Fold, Store

START = 1_800_000_000
MUCH = 100 << 20


def fold(*values: float, failed: int = 0) -> Fold:
    made = Fold()
    for value in values:
        made.add("ok", {"response_time": value, "ttft": value / 2.0})
    for _ in range(failed):
        made.add("timeout", {"response_time": 1e6, "ttft": None})
    return made


def opened(folder: Path, most_bytes: int = MUCH) -> Store:
    return Store(folder / "kept.db", "http://x", most_bytes=most_bytes)


def test_every_level_has_every_request_exactly(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drawn = random.Random(1)
    every = Histogram(7)
    for batch in range(10):  # the same minute and hour are written again and again
        folds = {}
        for second in range(40):
            values = [drawn.lognormvariate(4.0, 1.0) for _ in range(3)]
            every.record_many(values)
            folds[START + batch * 40 + second] = fold(*values, failed=second % 2)
        store.add(folds, START + batch * 40 + 40)
    for level in (SECOND, MINUTE, HOUR):
        spans = store.spans(level, 0.0)
        assert sum(span.ok for span in spans) == 1200
        assert sum(span.failed for span in spans) == 200
        assert merged(span.times["response_time"] for span in spans) == every
        assert all(span.start_s % level == 0 for span in spans)
        assert store.spans(level, START + 399) == spans[-1:] or level != SECOND
    store.close()


def test_another_process_that_is_killed_leaves_what_it_wrote(tmp_path: Path) -> None:
    """Reopened without having been closed in order, as after kill -9: the lock is the kernel's, the rows the log's."""
    import os

    child = os.fork()
    if not child:
        try:
            opened(tmp_path).add({START: fold(1.0, 2.0)}, START)
        finally:
            os._exit(9)  # no close, no checkpoint
    os.waitpid(child, 0)
    store = opened(tmp_path)
    assert [span.ok for span in store.spans(HOUR, 0.0)] == [2]
    store.add({START + 1: fold(3.0)}, START)
    assert [span.ok for span in store.spans(HOUR, 0.0)] == [3]
    store.close()


def test_one_monitor_and_one_target_for_each_file(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(UsageError, match="belongs to a monitor that runs"):
        opened(tmp_path)
    store.close()
    with pytest.raises(UsageError, match="monitor's file of http://x"):
        Store(tmp_path / "kept.db", "http://y", most_bytes=MUCH)
    opened(tmp_path).close()


def test_eight_days_are_a_bounded_number_of_rows(tmp_path: Path) -> None:
    store, hours = opened(tmp_path), 8 * 24
    for hour in range(hours):
        start = START + hour * HOUR
        store.add({start + i * 300: fold(50.0) for i in range(12)}, start + HOUR)
    rows = {level: len(store.spans(level, 0.0)) for level in KEPT_S}
    assert rows[SECOND] <= KEPT_S[SECOND] / 300 + 1
    assert rows[MINUTE] <= KEPT_S[MINUTE] / 300 + 1
    assert rows[HOUR] == hours + (START % HOUR > 0)
    assert sum(span.ok for span in store.spans(HOUR, 0.0)) == hours * 12  # older than its minutes, and all there
    store.close()


def test_the_file_holds_no_more_than_its_bound(tmp_path: Path) -> None:
    store, drawn, adds = opened(tmp_path, LEAST_BYTES), random.Random(2), 60
    for batch in range(adds):
        start = START + batch * 60
        store.add(
            {start + i: fold(*(drawn.lognormvariate(4.0, 2.0) for _ in range(60))) for i in range(60)}, start + 60
        )
    newest = store.spans(SECOND, 0.0)[-1].start_s
    store.close()
    assert newest == START + adds * 60 - 1  # the oldest went
    with sqlite3.connect(tmp_path / "kept.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    assert (tmp_path / "kept.db").stat().st_size <= 1.1 * LEAST_BYTES


def test_alarms_are_kept(tmp_path: Path) -> None:
    store = opened(tmp_path)
    first = Alarm("error_rate", "criterion", 1.0, "text")
    store.note([first], [])
    store.close()
    store = opened(tmp_path)
    assert store.firing() == {"error_rate": first}
    store.note([], [Alarm("error_rate", "criterion", 1.0, "text", 2.0)])
    assert store.firing() == {}
    assert [(alarm.since_s, alarm.resolved_s) for alarm in store.alarms()] == [(1.0, 2.0)]
    store.close()
