"""``PerformanceMonitor``: times the operations of a service, and says how it is doing.

>>> monitor = PerformanceMonitor()
>>> with monitor.operation("context_injection"):
...     pass
>>> monitor.statistics()["context_injection"].count
1

Threads, tasks and forked children may use one monitor; a child goes on from what its parent had counted.  Memory is
bounded: a histogram for each of at most MOST_OPERATIONS names, and ten minutes of memory readings.
"""

from __future__ import annotations

import functools
import logging
import math
from collections import deque
from dataclasses import asdict, dataclass
from typing import Literal, TypedDict

from perfsuite import _core
from perfsuite.chatloop import resources
from perfsuite.chatloop.alerts import Alert, Alerts, Callback
from perfsuite.chatloop.debug import SlowOperation, capture
from perfsuite.chatloop.forking import Lock
from perfsuite.chatloop.operations import TOOL_EXECUTION
from perfsuite.chatloop.regression import Baseline, Change, Kept, kept, slower
from perfsuite.chatloop.timed import Operation

MOST_OPERATIONS = 1000
OTHERS = "(others)"
"""Where the operations of further names are counted: names are meant to be of a kind, not of a user or a request."""
SAMPLE_S = 1.0
"""Where a request does not say how much memory there is, it is looked up this often."""
MOST_SLOW = 100
"""Slow operations that are kept in detail in debug mode; the newest stay."""

LOGGER = logging.getLogger("perfsuite.chatloop")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one operation; times in ms, NaN where nothing was timed."""

    count: int
    failed: int
    cancelled: int
    running: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    last_ms: float | None
    per_minute: int


class Dashboard(TypedDict):
    """What a dashboard shows; None where nothing was recorded yet, or the system does not tell."""

    avg_response_time_ms: float | None
    p95_response_time_ms: float | None
    p99_response_time_ms: float | None
    memory_current_bytes: int | None
    memory_peak_bytes: int | None
    memory_trend_bytes_per_minute: float | None
    memory_percent: float
    memory_utilization: float
    error_rate: float | None
    errors_per_1000: float | None
    messages_per_minute: int
    tools_per_minute: int
    cpu_percent: float
    last_operation_time_ms: float | None
    disk_read_bytes: int | None
    disk_write_bytes: int | None
    operations: dict[str, dict[str, float | int | None]]


class PerformanceMonitor:
    """Times operations and requests, logs what is slow, tells those who asked to be told.

    info_s, warning_s: an operation that takes longer is logged at INFO, at WARNING; any other at DEBUG.
    slow_s: one that takes longer is an alert [warning_s].
    memory_limit: of memory_limit_bytes, the share above which there is an alert.
    memory_limit_bytes: what the process may have [its container's limit, or the machine's memory].
    regression: the share by which an operation may become slower before ``check_regression`` reports it.
    debug_s: operations that take longer are kept in detail, with stack, thread and memory, in ``slow_operations``, and
        logged so; None: not.
    alert_every_s: an alert of the same kind about the same operation comes no more often.
    logger: where to log ["perfsuite.chatloop"].

    A timed operation costs less than a microsecond (benchmarks/test_monitor.py).
    """

    def __init__(
        self,
        *,
        info_s: float = 1.0,
        warning_s: float = 5.0,
        slow_s: float | None = None,
        memory_limit: float = 0.8,
        memory_limit_bytes: int | None = None,
        regression: float = 0.1,
        debug_s: float | None = None,
        alert_every_s: float = 60.0,
        logger: logging.Logger = LOGGER,
    ) -> None:
        if not 0.0 < memory_limit <= 1.0:
            raise ValueError(f"memory_limit is {memory_limit!r}; it must be a share above 0 and up to 1")
        if memory_limit_bytes is not None and not memory_limit_bytes > 0:
            raise ValueError(f"memory_limit_bytes is {memory_limit_bytes!r}; it must be above 0")
        if not regression > 0.0:
            raise ValueError(f"regression is {regression!r}; it must be above 0, such as 0.1 for a tenth")
        self.memory_limit = memory_limit
        self.regression = regression
        self.slow_operations: deque[SlowOperation] = deque(maxlen=MOST_SLOW)
        self.alerts = Alerts(alert_every_s, logger)
        self._memory_limit_bytes = memory_limit_bytes
        self._logger = logger
        self._logs_all = functools.partial(logger.isEnabledFor, logging.DEBUG)
        self._lock = Lock()
        self._operations: dict[str, _core.Operation] = {}
        self._crowded = False
        self._levels = (math.inf, math.inf, math.inf, math.inf)
        self.set_levels(info_s=info_s, warning_s=warning_s, slow_s=slow_s, debug_s=debug_s)
        self._begin()

    def _begin(self) -> None:
        self._requests = _core.Operation("request", _core.Histogram())
        self._memory = resources.MemorySeries()
        self._cpu = resources.Cpu()
        self._disk = resources.disk()

    # ── recording ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def operation(self, name: str) -> Operation:
        """Times one run: ``with monitor.operation("search"): …``, ``async with`` or, as a decorator, every call."""
        try:
            return Operation(self._operations[name])
        except KeyError:
            return Operation(self._new(name))

    def record_operation(self, name: str, elapsed_ms: float, error: type[BaseException] | None = None) -> None:
        """A run that was timed elsewhere."""
        try:
            operation = self._operations[name]
        except KeyError:
            operation = self._new(name)
        operation.record(elapsed_ms, error)

    def record_request(self, response_time_ms: float, memory_bytes: int | None = None, success: bool = True) -> None:
        """A message that was answered, or not.  Without ``memory_bytes`` the process is looked at, once a second."""
        if memory_bytes is not None:
            try:
                usable = 0 <= memory_bytes < math.inf
            except TypeError:
                raise TypeError(f"memory_bytes is {memory_bytes!r}; it must be a number of bytes") from None
            if not usable:
                raise ValueError(f"memory_bytes is {memory_bytes!r}; it must be 0 or more, and finite")
        self._requests.record(response_time_ms, None if success else Exception)
        if memory_bytes is None:
            if self._memory.age_s < SAMPLE_S:
                return
            memory_bytes = resources.memory_bytes()
        self._saw_memory(memory_bytes)

    def _new(self, name: str) -> _core.Operation:
        if not isinstance(name, str) or not name:
            raise TypeError(f"an operation's name must be text, not {name!r}")
        with self._lock:
            if name not in self._operations and len(self._operations) >= MOST_OPERATIONS:
                if not self._crowded:
                    self._crowded = True
                    self._logger.warning(
                        "more than %d names of operations: %r and further ones are counted as %s; name operations by "
                        "what they do, not by whom they are for",
                        MOST_OPERATIONS,
                        name,
                        OTHERS,
                    )
                name = OTHERS
            found = self._operations.get(name)
            if found is None:
                above = min(self._levels) * 1e3
                found = _core.Operation(name, _core.Histogram(), self._report, above, self._logs_all)
                self._operations[name] = found
            return found

    def _saw_memory(self, value: int) -> None:
        with self._lock:
            self._memory.add(value)
        limit = self.memory_limit_bytes
        share = value / limit
        if share > self.memory_limit:
            self.alerts.send(
                Alert(
                    kind="memory",
                    text=f"memory is at {share:.0%} of {limit / 1e6:,.0f} MB ({value / 1e6:,.0f} MB); "
                    "trim earlier (trim_threshold), keep fewer pairs (max_history_pairs), clear caches",
                    value=share,
                    limit=self.memory_limit,
                )
            )

    # ── what is slow ──────────────────────────────────────────────────────────────────────────────────────────────────

    def set_levels(
        self,
        *,
        info_s: float | None = None,
        warning_s: float | None = None,
        slow_s: float | None = None,
        debug_s: float | Literal["off"] | None = None,
    ) -> None:
        """Changes what is logged and reported, from now on; what is not given stays.

        ``debug_s="off"`` ends debug mode.  slow_s follows warning_s until it is given.

        Raises ValueError unless 0 <= info_s <= warning_s.
        """
        info, warning, slow, debug = self._levels
        info = info if info_s is None else float(info_s)
        follows = slow == warning
        warning = warning if warning_s is None else float(warning_s)
        slow = float(slow_s) if slow_s is not None else warning if follows else slow
        debug = math.inf if debug_s == "off" else debug if debug_s is None else float(debug_s)
        if not (0.0 <= info <= warning and slow >= 0.0 and debug >= 0.0):
            raise ValueError(
                f"info_s {info:g} and warning_s {warning:g} must not fall, and slow_s {slow:g} and debug_s {debug:g} "
                "must be 0 or more seconds"
            )
        with self._lock:
            self._levels = (info, warning, slow, debug)
            for operation in self._operations.values():
                operation.report_above_ms = min(self._levels) * 1e3

    def _report(self, name: str, ms: float, error: type[BaseException] | None) -> None:
        """Called by the core at the end of a run that is long enough for something, in the thread that ran it."""
        info, warning, slow, debug = self._levels
        seconds = ms / 1e3
        level, what = (
            (logging.WARNING, "slow operation")
            if seconds > warning
            else (logging.INFO, "operation timing")
            if seconds > info
            else (logging.DEBUG, "fast operation")
        )
        if self._logger.isEnabledFor(level):
            ended = "" if error is None else f", ended by {error.__name__}"
            self._logger.log(level, "%s: %s took %.3f s%s", what, name, seconds, ended)
        if seconds > debug:
            detail = capture(name, ms, error)
            self.slow_operations.append(detail)
            self._logger.warning("%s", detail)
        if seconds > slow:
            self.alerts.send(
                Alert(
                    kind="slow_operation",
                    text=f"{name} took {seconds:.2f} s, more than {slow:g} s",
                    value=seconds,
                    limit=slow,
                    operation=name,
                )
            )

    def on_alert(self, callback: Callback) -> Callback:
        """Calls ``callback(alert)`` for each alert; also as a decorator."""
        self.alerts.add(callback)
        return callback

    # ── what is known ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def memory_limit_bytes(self) -> int:
        """What the process may have."""
        if self._memory_limit_bytes is None:
            self._memory_limit_bytes = resources.memory_limit_bytes()
        return self._memory_limit_bytes

    def statistics(self) -> dict[str, Statistics]:
        """Of every operation, by name."""
        return {name: _statistics(operation) for name, operation in self._copy().items()}

    def histogram(self, name: str) -> _core.Histogram:
        """A copy of an operation's histogram (ms); KeyError for one that was never timed."""
        return self._operations[name].histogram.copy()

    def dashboard_data(self) -> Dashboard:
        """How the service is doing; see Dashboard."""
        if self._memory.age_s >= SAMPLE_S:
            self._saw_memory(resources.memory_bytes())
        operations = self._copy()
        requests = self._requests.histogram.copy()
        failed = self._requests.failed
        with self._lock:
            current, peak, points = self._memory.current, self._memory.peak, self._memory.points()
        p95, p99 = requests.quantiles([0.95, 0.99]) if requests.count else (None, None)
        ended = [one for one in operations.values() if one.ended_ns is not None]
        latest = max(ended, key=lambda one: one.ended_ns or 0, default=None)
        tools = operations.get(TOOL_EXECUTION)
        disk = resources.disk()
        rate = failed / requests.count if requests.count else None
        return Dashboard(
            avg_response_time_ms=requests.mean if requests.count else None,
            p95_response_time_ms=p95,
            p99_response_time_ms=p99,
            memory_current_bytes=current,
            memory_peak_bytes=peak,
            memory_trend_bytes_per_minute=resources.trend_per_minute(points),
            memory_percent=resources.memory_percent(),
            memory_utilization=(current or 0) / self.memory_limit_bytes,
            error_rate=rate,
            errors_per_1000=None if rate is None else 1e3 * rate,
            messages_per_minute=self._requests.last_minute,
            tools_per_minute=0 if tools is None else tools.last_minute,
            cpu_percent=self._cpu.percent(),
            last_operation_time_ms=None if latest is None else latest.last_ms,
            disk_read_bytes=_since(self._disk.read, disk.read),
            disk_write_bytes=_since(self._disk.written, disk.written),
            operations={name: asdict(_statistics(one)) for name, one in operations.items()},
        )

    def baseline(self) -> dict[str, float | Kept]:
        """What the operations take now, for ``check_regression`` later; goes through JSON as it is."""
        return {name: kept(one) for name, one in self._copy().items() if one.histogram.count}

    def check_regression(self, baseline: Baseline, threshold: float | None = None) -> list[Change]:
        """The operations that became slower than in the baseline by more than the threshold [regression], worst first.

        baseline: from ``baseline()``, or mean milliseconds by operation.  Of those that are certain there is an alert
        each.  Raises ValueError for a baseline that cannot be read, or of which nothing was run often enough.
        """
        limit = self.regression if threshold is None else threshold
        found = slower(self._copy(), baseline, limit)
        for change in found:
            if change.certain:
                self.alerts.send(
                    Alert(
                        kind="regression",
                        text=f"{change.operation} takes {change.current_ms:.3g} ms, {change.change:.0%} more than "
                        f"{change.baseline_ms:.3g} ms in the baseline",
                        value=change.change,
                        limit=limit,
                        operation=change.operation,
                    )
                )
        return found

    def reset(self) -> None:
        """Forgets everything that was recorded; callbacks and levels stay.  Runs under way are not counted any more."""
        with self._lock:
            self._operations = {}
            self._crowded = False
            self.slow_operations.clear()
            self._begin()

    def _copy(self) -> dict[str, _core.Operation]:
        with self._lock:
            return dict(self._operations)


def _statistics(operation: _core.Operation) -> Statistics:
    histogram = operation.histogram.copy()
    p50, p95, p99 = histogram.quantiles([0.5, 0.95, 0.99]) if histogram.count else (math.nan,) * 3
    return Statistics(
        count=histogram.count,
        failed=operation.failed,
        cancelled=operation.cancelled,
        running=operation.running,
        mean_ms=histogram.mean,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=histogram.max,
        last_ms=operation.last_ms,
        per_minute=operation.last_minute,
    )


def _since(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else max(0, now - before)
