"""PerformanceMonitor: what it times, logs, tells of, and keeps."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import pytest

from perfsuite import Alert, PerformanceMonitor
from perfsuite.chatloop import monitor as module
from perfsuite.chatloop import resources
from perfsuite.chatloop.monitor import MOST_OPERATIONS, OTHERS


class Failed(Exception):
    pass


def test_a_run_is_timed_by_the_clock_around_it() -> None:
    monitor = PerformanceMonitor()
    before = time.monotonic_ns()
    with monitor.operation("work") as run:
        started = time.monotonic_ns()
        sum(range(50_000))
        ended = time.monotonic_ns()
    after = time.monotonic_ns()
    assert run.elapsed_ms is not None
    assert (ended - started) / 1e6 <= run.elapsed_ms <= (after - before) / 1e6
    (statistics,) = monitor.statistics().values()
    assert statistics.count == 1
    assert statistics.mean_ms == statistics.last_ms == run.elapsed_ms
    assert monitor.histogram("work").sum == run.elapsed_ms


def test_failures_are_counted_and_go_on() -> None:
    monitor = PerformanceMonitor()
    for error, times in ((Failed, 3), (asyncio.CancelledError, 2), (KeyboardInterrupt, 1)):
        for _ in range(times):
            with pytest.raises(error), monitor.operation("work"):
                raise error
    with monitor.operation("work"):
        pass
    statistics = monitor.statistics()["work"]
    assert (statistics.count, statistics.failed, statistics.cancelled, statistics.running) == (7, 3, 3, 0)
    assert statistics.per_minute == 7


def test_what_is_under_way_is_counted() -> None:
    monitor = PerformanceMonitor()
    outer = monitor.operation("work")
    with outer, monitor.operation("work"):
        assert monitor.statistics()["work"].running == 2
        with pytest.raises(RuntimeError, match="running already"):
            outer.__enter__()
    assert monitor.statistics()["work"].running == 0
    left = monitor.operation("work")
    left.__enter__()
    del left
    assert monitor.statistics()["work"].running == 0
    assert monitor.statistics()["work"].count == 2
    with pytest.raises(RuntimeError, match="not running"):
        monitor.operation("work").__exit__(None, None, None)


def test_as_a_decorator_it_times_every_call() -> None:
    monitor = PerformanceMonitor()

    @monitor.operation("plain")
    def plain(x: int) -> int:
        """Doubles."""
        return 2 * plain(x - 1) if x else 1

    @monitor.operation("coroutine")
    async def coroutine(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @monitor.operation("generator")
    def generator(n: int) -> Iterator[int]:
        yield from range(n)

    @monitor.operation("stream")
    async def stream(n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    async def all_of_it() -> list[int]:
        return [*await asyncio.gather(*(coroutine(i) for i in range(5))), *[i async for i in stream(2)]]

    assert plain(3) == 8
    assert plain.__doc__ == "Doubles."
    assert list(generator(3)) == [0, 1, 2]
    assert asyncio.run(all_of_it()) == [0, 1, 2, 3, 4, 0, 1]
    counts = {name: one.count for name, one in monitor.statistics().items()}
    assert counts == {"plain": 4, "coroutine": 5, "generator": 1, "stream": 1}
    with pytest.raises(TypeError, match="can time a function, not int"):
        monitor.operation("plain")(3)  # type: ignore[type-var]


def test_a_timed_async_generator_is_driven_as_it_would_be_alone() -> None:
    monitor = PerformanceMonitor()
    seen: list[str] = []

    @monitor.operation("stream")
    async def stream() -> AsyncGenerator[str, str]:
        try:
            seen.append((yield "first"))
            try:
                yield "second"
            except Failed:
                seen.append("caught")
            yield "third"
        finally:
            seen.append("closed")

    async def all_of_it() -> None:
        one = stream()
        assert await anext(one) == "first"
        assert await one.asend("sent") == "second"
        assert await one.athrow(Failed()) == "third"
        await one.aclose()
        seen.append("after")  # what is closed is closed by then, not when it is collected
        two = stream()
        await anext(two)
        with pytest.raises(Failed):
            await two.athrow(Failed())

    asyncio.run(all_of_it())
    assert seen == ["sent", "caught", "closed", "after", "closed"]
    assert monitor.statistics()["stream"].count == 2


def test_tasks_overlap_without_disturbing_one_another() -> None:
    monitor = PerformanceMonitor()

    async def work(number: int) -> float:
        async with monitor.operation("work") as run:
            await asyncio.sleep(0.001 * (number % 3))
        assert run.elapsed_ms is not None
        return run.elapsed_ms

    async def all_of_it() -> list[float]:
        return await asyncio.gather(*(work(number) for number in range(50)))

    taken = asyncio.run(all_of_it())
    assert monitor.statistics()["work"].count == 50
    assert monitor.histogram("work").sum == pytest.approx(sum(taken))


def test_threads_lose_nothing() -> None:
    monitor = PerformanceMonitor()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def work() -> None:
            for i in range(2000):
                with monitor.operation(f"work {i % 7}"):
                    pass
                monitor.record_request(1.0, 100, success=i % 2 == 0)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert sum(one.count for one in monitor.statistics().values()) == 16_000
    assert monitor.dashboard_data()["error_rate"] == 0.5


def test_a_forked_child_goes_on() -> None:
    monitor = PerformanceMonitor()
    with monitor.operation("work"):
        pass
    with monitor._lock, monitor.alerts._lock:  # as another thread does in the moment of the fork
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with monitor.operation("another"), monitor.operation("work"):
                    pass
                monitor.record_request(1.0, 10**15)
                fine = monitor.statistics()["work"].count == 2 and monitor.alerts.sent == 1
                status = 0 if fine else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
    assert monitor.statistics()["work"].count == 1


def test_the_log_follows_the_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "perfsuite.chatloop")
    monitor = PerformanceMonitor()
    for ms in (0.5, 1000.0, 1000.5, 5000.0, 5000.5):
        monitor.record_operation("work", ms)
    assert [record.levelname for record in caplog.records] == ["DEBUG", "DEBUG", "INFO", "INFO", "WARNING"]
    assert caplog.messages[-1] == "slow operation: work took 5.000 s" or "5.00" in caplog.messages[-1]
    caplog.clear()
    caplog.set_level(logging.INFO, "perfsuite.chatloop")
    monitor.record_operation("work", 0.5)
    monitor.set_levels(info_s=0.1, warning_s=0.2)
    for ms in (50.0, 150.0, 250.0):
        monitor.record_operation("work", ms, Failed)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert caplog.messages[0].endswith("ended by Failed")


@pytest.mark.parametrize(
    "levels", [{"info_s": 6.0}, {"info_s": -1.0}, {"warning_s": 0.5}, {"slow_s": -1.0}, {"debug_s": math.nan}]
)
def test_levels_that_make_no_sense_are_refused(levels: dict[str, float]) -> None:
    monitor = PerformanceMonitor()
    with pytest.raises(ValueError, match="info_s"):
        monitor.set_levels(**levels)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="info_s"):
        PerformanceMonitor(**levels)  # type: ignore[arg-type]
    monitor.record_operation("work", 4000.0)
    assert monitor.alerts.sent == 0


def test_a_slow_operation_is_an_alert_and_not_every_time() -> None:
    monitor = PerformanceMonitor(slow_s=0.01)
    alerts: list[Alert] = []
    monitor.on_alert(alerts.append)
    monitor.record_operation("work", 9.0)
    assert alerts == []
    for _ in range(3):
        monitor.record_operation("work", 20.0)
    monitor.record_operation("other", 30.0)
    assert [(one.kind, one.operation) for one in alerts] == [("slow_operation", "work"), ("slow_operation", "other")]
    assert (alerts[0].value, alerts[0].limit) == (0.02, 0.01)
    assert (monitor.alerts.sent, monitor.alerts.suppressed) == (2, 2)


def test_a_callback_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    monitor = PerformanceMonitor(slow_s=0.01, alert_every_s=0.0)
    alerts: list[Alert] = []

    @monitor.on_alert
    def fails(alert: Alert) -> None:
        raise Failed(alert.text)

    monitor.on_alert(alerts.append)
    monitor.record_operation("work", 20.0)
    assert len(alerts) == 1
    assert monitor.alerts.failed == 1
    assert any(record.exc_info and record.exc_info[0] is Failed for record in caplog.records)
    monitor.alerts.remove(fails)
    monitor.record_operation("work", 20.0)
    assert (len(alerts), monitor.alerts.failed) == (2, 1)
    with pytest.raises(ValueError, match="not added"):
        monitor.alerts.remove(fails)
    with pytest.raises(TypeError, match="callable"):
        monitor.on_alert(3)  # type: ignore[arg-type]


def test_memory_over_its_limit_is_an_alert() -> None:
    monitor = PerformanceMonitor(memory_limit_bytes=1000)
    alerts: list[Alert] = []
    monitor.on_alert(alerts.append)
    monitor.record_request(1.0, 800)
    assert alerts == []
    monitor.record_request(1.0, 801)
    (alert,) = alerts
    assert (alert.kind, alert.value, alert.limit) == ("memory", 0.801, 0.8)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((1.0, math.inf), "memory_bytes is inf; it must be 0 or more, and finite"),
        ((1.0, math.nan), "memory_bytes is nan"),
        ((1.0, -1), "memory_bytes is -1"),
        ((1.0, "x"), "memory_bytes is 'x'; it must be a number of bytes"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_recorded_is_not_counted(given: tuple[float, Any], said: str) -> None:
    monitor = PerformanceMonitor()
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        monitor.record_request(*given)
    assert monitor.dashboard_data()["avg_response_time_ms"] is None
    monitor.record_request(1.0, 10)
    assert monitor.dashboard_data()["memory_current_bytes"] == 10


def test_the_dashboard() -> None:
    monitor = PerformanceMonitor(memory_limit_bytes=10**12)
    empty = monitor.dashboard_data()
    assert empty["avg_response_time_ms"] is None
    assert empty["errors_per_1000"] is None
    assert empty["last_operation_time_ms"] is None
    held = bytearray(64 << 20)
    for i in range(100):
        monitor.record_request(float(i + 1), 10**9 + (100 - i) * 1000, success=i >= 3)
    monitor.record_operation("tool_execution", 7.0)
    monitor.record_operation("llm_invocation", 9.0)
    data = monitor.dashboard_data()
    assert data["avg_response_time_ms"] == pytest.approx(50.5)
    assert data["p95_response_time_ms"] == pytest.approx(95.0, rel=0.01)
    assert data["p99_response_time_ms"] == pytest.approx(99.0, rel=0.01)
    assert data["memory_current_bytes"] == 10**9 + 1000
    assert data["memory_peak_bytes"] == 10**9 + 100_000
    assert data["memory_utilization"] == pytest.approx(0.001, rel=0.01)
    assert (data["error_rate"], data["errors_per_1000"]) == (0.03, 30.0)
    assert (data["messages_per_minute"], data["tools_per_minute"]) == (100, 1)
    assert data["last_operation_time_ms"] == 9.0
    assert 0.0 <= data["memory_percent"] <= 100.0
    assert data["cpu_percent"] >= 0.0
    assert data["operations"]["tool_execution"]["count"] == 1
    assert json.loads(json.dumps(data)) == data
    del held


def test_memory_is_looked_up_where_nobody_says() -> None:
    monitor = PerformanceMonitor()
    monitor.record_request(1.0)
    first = monitor.dashboard_data()["memory_current_bytes"]
    assert first is not None
    assert abs(first - resources.memory_bytes()) < 64 << 20
    with pytest.raises(ValueError, match="memory_bytes"):
        monitor.record_request(1.0, -1)
    for bad in (math.nan, -1.0, math.inf):
        with pytest.raises(ValueError, match="ms must be"):
            monitor.record_request(bad)


def test_memory_that_grows_has_a_trend(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(resources.time, "monotonic", lambda: now[0])
    series = resources.MemorySeries()
    assert resources.trend_per_minute(series.points()) is None
    for second in range(900):
        now[0] = 100.0 + second
        series.add(10**8 + second * 1024)
        series.add(10**8)  # of one second the highest stays
    assert len(series.points()) == resources.POINTS
    assert resources.trend_per_minute(series.points()) == pytest.approx(60 * 1024)
    assert series.peak == 10**8 + 899 * 1024


def test_names_without_end_do_not_take_memory_without_end(caplog: pytest.LogCaptureFixture) -> None:
    monitor = PerformanceMonitor()
    for i in range(MOST_OPERATIONS + 50):
        with monitor.operation(f"user {i}"):
            pass
    statistics = monitor.statistics()
    assert len(statistics) == MOST_OPERATIONS + 1
    assert statistics[OTHERS].count == 50
    assert len([record for record in caplog.records if "names of operations" in record.message]) == 1
    for bad in ("", None, 3):
        with pytest.raises(TypeError, match="name must be text"):
            monitor.operation(bad)  # type: ignore[arg-type]


def test_debug_mode_keeps_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    monitor = PerformanceMonitor(debug_s=0.0005)

    def somewhere_slow() -> None:
        with monitor.operation("work"):
            time.sleep(0.001)

    async def in_a_task() -> None:
        somewhere_slow()

    somewhere_slow()
    asyncio.run(in_a_task())
    plain, tasked = monitor.slow_operations
    assert plain.thread_id == threading.get_ident()
    assert (plain.task, plain.error) == (None, None)
    assert tasked.task is not None
    assert plain.memory_bytes > 1 << 20
    assert "in somewhere_slow" in plain.stack[-1]
    assert not any(f"{os.sep}monitor.py" in line for line in plain.stack)
    assert any("slow operation work" in message and "somewhere_slow" in message for message in caplog.messages)
    monitor.set_levels(debug_s="off")
    somewhere_slow()
    assert len(monitor.slow_operations) == 2


# ── regressions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def monitored(ms: float, times: int = 200) -> PerformanceMonitor:
    """A monitor of an operation that takes about so long."""
    monitor = PerformanceMonitor()
    for i in range(times):
        monitor.record_operation("work", ms * (0.95 + 0.1 * ((i * 37) % 100) / 100))
    return monitor


@pytest.mark.parametrize(("ms", "found"), [(10.0, False), (10.5, False), (8.0, False), (12.0, True)])
def test_a_regression_is_found_and_nothing_else(ms: float, found: bool) -> None:
    baseline = json.loads(json.dumps(monitored(10.0).baseline()))
    now = monitored(ms)
    alerts: list[Alert] = []
    now.on_alert(alerts.append)
    for given in (baseline, {"work": 10.0}):
        changes = now.check_regression(given)
        assert bool(changes) == found
        assert all(one.certain and one.change == pytest.approx(0.2, rel=0.05) for one in changes)
    assert [one.kind for one in alerts] == ["regression"] * found


def test_a_few_runs_prove_nothing() -> None:
    now = PerformanceMonitor()
    for ms in (1.0, 30.0, 2.0, 9.0, 40.0, 3.0, 25.0, 18.0):
        now.record_operation("work", ms)
    (change,) = now.check_regression({"work": 10.0})
    assert not change.certain
    assert now.alerts.sent == 0


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        ({}, "nothing to compare"),
        ({"another": 3.0}, "nothing to compare"),
        ({"work": 0.0}, "must be milliseconds above 0"),
        ({"work": math.nan}, "must be milliseconds above 0"),
        ({"work": "10"}, "must be milliseconds above 0"),
        ({"work": {"histogram": "!"}}, "can be read"),
        ({"work": {}}, "can be read"),
    ],
)
def test_a_baseline_that_is_none_is_refused(baseline: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        monitored(10.0).check_regression(baseline)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold"):
        monitored(10.0).check_regression({"work": 10.0}, threshold=0.0)


# ── keeping nothing ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_monitor_goes_when_nobody_holds_it() -> None:
    monitor = PerformanceMonitor()
    with monitor.operation("work"):
        pass
    gone = weakref.ref(monitor)
    del monitor
    gc.collect()
    assert gone() is None


def test_timing_keeps_no_object() -> None:
    monitor = PerformanceMonitor()
    growths = []
    for _ in range(5):
        with monitor.operation("work"):
            pass
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(2000):
            with monitor.operation("work"):
                pass
        gc.collect()
        growths.append(sys.getallocatedblocks() - before)
    assert min(growths) < 50


def test_reset_forgets() -> None:
    monitor = monitored(1.0)
    monitor.record_request(1.0, 10)
    monitor.reset()
    assert monitor.statistics() == {}
    assert monitor.dashboard_data()["messages_per_minute"] == 0


def test_options_that_make_no_sense_are_refused() -> None:
    for wrong in ({"memory_limit": 0.0}, {"memory_limit": 80}, {"memory_limit_bytes": 0}, {"regression": 0.0},
                  {"alert_every_s": -1.0}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PerformanceMonitor(**wrong)  # type: ignore[arg-type]


def test_the_example_in_the_module() -> None:
    import doctest

    assert doctest.testmod(module).failed == 0
