"""The monitor's own loop: pauses, bounds, what cannot be written."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path

import pytest

from perfsuite._core import Events
from perfsuite.analysis.alarms import Criterion
from perfsuite.configuration import configure
from perfsuite.errors import UsageError
from perfsuite.history.database import HistoryError
from perfsuite.live.board import Board
from perfsuite.monitor import watching
from perfsuite.monitor.store import HOUR, SECOND, Store
from perfsuite.monitor.telling import Teller
from perfsuite.monitor.watching import LONGEST_PAUSE_S, Monitor, Watch, pauses

NOW = 1_800_000_000.0


def monitor(folder: Path, said: list[str], target: str = "reference", **given: float) -> tuple[Monitor, Store]:
    plan = configure({"target": target, "phase": ["load"], "request_timeout": 5.0}, environment={}, folder=folder)
    store = Store(folder / "kept.db", target, most_bytes=100 << 20)
    watch = Watch(plan=plan, rate=50.0, criteria=[Criterion("error_rate", 0.05)], window_s=300.0, **given)
    return Monitor(watch, store, Board(), Teller(target, say=said.append), clock=lambda: NOW), store


def test_pauses_grow_to_the_longest() -> None:
    grown = list(islice(pauses(), 50))
    assert grown[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(grown) == grown[-1] == LONGEST_PAUSE_S


def test_what_it_holds_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_WAITING_S", 200)
    monkeypatch.setattr(watching, "RECENT", 30)
    made, store = monitor(tmp_path, [])
    for second in range(600):
        made._add(second, "ok", {"response_time": 1.0, "ttft": None})
    assert len(made._recent) == 30
    waiting, made._folds = made._folds, {}
    made._put_back(waiting)
    assert len(made._folds) == 200
    assert max(made._folds) == 599  # the newest wait
    store.close()


def test_what_cannot_be_written_waits_and_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    made, store = monitor(tmp_path, said)

    def full(*_: object) -> None:
        raise HistoryError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "add", full)
        for _ in range(3):
            made._add(int(NOW), "ok", {"response_time": 1.0, "ttft": None})
            asyncio.run(made.flush())
    assert said == ["nothing can be kept: the disk is full"]
    asyncio.run(made.flush())
    assert [span.ok for span in store.spans(SECOND, 0.0)] == [3]
    asyncio.run(made.flush())
    assert [span.ok for span in store.spans(HOUR, 0.0)] == [3]  # once
    store.close()


def test_it_asks_and_keeps_what_came(tmp_path: Path) -> None:
    said: list[str] = []
    made, store = monitor(tmp_path, said)

    async def watch() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop, tmp_path))
        while made.sent < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        stop.set()
        await task

    asyncio.run(asyncio.wait_for(watch(), 120.0))
    (hour,) = store.spans(HOUR, 0.0)
    assert hour.ok == made.sent
    assert hour.failed == made.failed == 0
    assert hour.times["response_time"].count == hour.times["ttft"].count == hour.ok
    assert said == []
    store.close()


def test_a_target_that_is_away_is_data_and_an_alert(tmp_path: Path) -> None:
    said: list[str] = []
    made, store = monitor(tmp_path, said, "http://127.0.0.1:9")

    async def watch() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(made.run(stop, tmp_path))
        while not said:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        stop.set()
        await task

    asyncio.run(asyncio.wait_for(watch(), 120.0))
    (hour,) = store.spans(HOUR, 0.0)
    assert hour.ok == 0
    assert hour.failed == made.failed >= 3
    assert said == ["alert firing: error_rate is 100 %, limit 5 %"]
    store.close()


def test_a_target_that_can_never_be_opened_is_a_mistake(tmp_path: Path) -> None:
    made, store = monitor(tmp_path, [], "python:no_such_module:f")
    with pytest.raises(UsageError, match="no_such_module"):
        asyncio.run(made.run(asyncio.Event(), tmp_path))
    store.close()


def test_what_is_shown_is_what_came(tmp_path: Path) -> None:
    made, store = monitor(tmp_path, [])
    made._add(5, "ok", {"response_time": 4.0, "ttft": None})
    made._add(6, "timeout", {})
    shown = made._shown(Events())
    assert shown["counts"] == {"sent": 2, "failed": 1, "in flight": 0}
    assert shown["recent"] == {"t_ms": [5000, 6000], "ok": [1, 0], "failed": [0, 1]}
    assert shown["latency"]["longest"] == [4.0, None]  # type: ignore[index]
    store.close()


def test_prometheus_reads_what_came(tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    made, store = monitor(tmp_path, [])
    for ms in (4.0, 40.0):
        made._add(5, "ok", {"response_time": ms, "ttft": None})
    for _ in range(3):
        made._add(6, "timeout", {})
    asyncio.run(made.flush())
    kind, text = made.metrics()
    assert kind.startswith("text/plain")
    read = {
        (one.name, *one.labels.values()): one.value
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }
    assert read["perfsuite_monitor_info", "reference"] == 1.0
    assert read["perfsuite_monitor_requests_total", "completed"] == 2.0
    assert read["perfsuite_monitor_requests_total", "failed"] == 3.0
    assert read["perfsuite_monitor_errors_total", "timeout"] == 3.0
    assert read["perfsuite_monitor_response_time_seconds_count",] == 2.0
    assert read["perfsuite_monitor_response_time_seconds_sum",] == pytest.approx(0.044, rel=0.01)
    assert read["perfsuite_monitor_response_time_seconds_bucket", "0.016"] == 1.0
    assert read["perfsuite_monitor_ttft_seconds_count",] == 0.0
    assert not any(name[0] == "perfsuite_monitor_alert_firing" for name in read)
    store.close()


def test_prometheus_hears_of_an_alert(tmp_path: Path) -> None:
    made, store = monitor(tmp_path, [])
    for _ in range(5):
        made._add(int(NOW), "timeout", {})
    asyncio.run(made.flush())
    assert b'perfsuite_monitor_alert_firing{alert="error_rate",kind="criterion"} 1.0' in made.metrics()[1]
    store.close()
