"""The monitor: asks a target at a low rate for as long as it is let, and keeps what came of it.

It drives short stretches, one after the other, as any load is driven; each has its own Events, so days need no more
memory than a minute.  Rows are folded by second as they end and written every FLUSH_S.  A target that answers nothing
is asked again after pauses that grow; each failure is kept: that a target is away is what a monitor is there to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite._core import Events, Histogram
from perfsuite.analysis.alarms import Criterion, Finding, advanced, criterion, merged, regressed, rising
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.history.database import HistoryError
from perfsuite.loadgen import LoadSpec, drive
from perfsuite.loadgen.raw import COLUMNS, rows
from perfsuite.monitor.store import HOUR, MINUTE, SECOND, Fold, Store
from perfsuite.monitor.telling import message
from perfsuite.targets import open_target
from perfsuite.workloads.requests import requests

if TYPE_CHECKING:
    from perfsuite.analysis.alarms import Alarm, Span
    from perfsuite.live.board import Board
    from perfsuite.monitor.telling import Teller
    from perfsuite.plan import Plan
    from perfsuite.targets.base import Target

STRETCH_S = 60.0
FLUSH_S = 2.0
LOOK_BACK_S = 60.0
"""Trends and regressions, which are of hours, are looked at this often."""
MOST_IN_FLIGHT = 64
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
RECENT = 300
"""Seconds that are kept to be shown; points of each longer history."""
MOST_WAITING_S = 3600
"""Seconds that wait in memory while they cannot be written."""
TREND_S = 2 * 86400.0
PAST_S = 7 * 86400.0
WATCHED = ("response_time", "ttft")

_FIELDS = {name: i for i, name in enumerate(COLUMNS[1:])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What is monitored, and how: ``rate`` requests a second, criteria held against the last ``window_s``."""

    plan: Plan
    rate: float
    criteria: Sequence[Criterion]
    window_s: float
    duration_s: float | None = None


def pauses() -> Iterator[float]:
    """From one try at a target that is away to the next: each twice as long, to the longest."""
    for i in itertools.count():
        yield min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(i, 32))


class Monitor:
    """``clock`` is what says when, in seconds of the epoch."""

    def __init__(
        self, watch: Watch, store: Store, board: Board, teller: Teller, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.watch = watch
        self._total = Fold()
        self._store = store
        self._board = board
        self._teller = teller
        self._clock = clock
        self._folds: dict[int, Fold] = {}
        self._recent: OrderedDict[int, Fold] = OrderedDict()
        self._looked_back = -LOOK_BACK_S
        self._slow: list[Finding] = []
        self._trouble: str | None = None
        self._alarms = store.firing()
        self._source = requests(watch.plan.seed, slots=MOST_IN_FLIGHT, workload=watch.plan.workload, expecting=False)

    @property
    def sent(self) -> int:
        """Requests that ended."""
        return self._total.ok + self._total.failed

    @property
    def failed(self) -> int:
        """Those that failed."""
        return self._total.failed

    def metrics(self) -> tuple[str, bytes]:
        """What came since it was started as Prometheus text, and its content type; from any thread."""
        from perfsuite.exports.prometheus import CONTENT_TYPE
        from perfsuite.exports.prometheus_monitor import Watched, exposition

        total = self._total
        firing = [(alarm.name, alarm.kind) for alarm in list(self._alarms.values())]
        seen = Watched(self.watch.plan.target, total.ok, dict(total.errors), total.times, firing)
        return CONTENT_TYPE, exposition(seen)

    async def run(self, stop: asyncio.Event, folder: Path) -> None:
        """Until ``stop`` is set or the time is over.  ``folder`` is the target's.  Raises UsageError for a target that
        can never be opened."""
        keeper = asyncio.create_task(self._keep())
        teller = asyncio.create_task(self._teller.run())
        ends = None
        if self.watch.duration_s is not None:
            ends = asyncio.get_running_loop().call_later(self.watch.duration_s, stop.set)
        try:
            await self._watch(stop, folder)
        finally:
            if ends is not None:
                ends.cancel()
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await self.flush()
            await self._teller.finish(FLUSH_S)
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)

    # ── the target ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self, stop: asyncio.Event, folder: Path) -> None:
        waits = pauses()
        target: Target | None = None
        away = opened = False
        try:
            while not stop.is_set():
                try:
                    if target is None:
                        target = await open_target(self.watch.plan, folder)
                        opened = True
                    answered = await self._stretch(target, stop, single=away)
                except UsageError:
                    if not opened:
                        raise
                    answered = self._missed()
                except (PerfsuiteError, OSError):
                    answered = self._missed()
                if answered:
                    away, waits = False, pauses()
                elif not stop.is_set():
                    away = True
                    await self._closed(target)
                    target = None
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(next(waits)):
                            await stop.wait()
        finally:
            await self._closed(target)

    @staticmethod
    async def _closed(target: Target | None) -> None:
        if target is not None:
            with contextlib.suppress(Exception):  # it is away, or the monitor ends
                await target.close()

    def _missed(self) -> bool:
        """A target that could not even be opened, or was lost as a whole, is one that failed a request."""
        self._add(int(self._clock()), "connect", {})
        return False

    async def _stretch(self, target: Target, stop: asyncio.Event, *, single: bool) -> bool:
        """Drives one stretch, of a ``single`` request where the target was away; whether anything was answered."""
        count = 1 if single else max(1, round(STRETCH_S * self.watch.rate))
        seconds = count / self.watch.rate
        events = Events(raw=True)
        spec = LoadSpec(
            duration_s=min(seconds, FIRST_PAUSE_S) if single else seconds,
            rate=self.watch.rate,
            arrivals="constant",
            concurrency=MOST_IN_FLIGHT,
            warmup_s=0.0,
            max_requests=count,
            request_timeout_s=self.watch.plan.request_timeout_s,
            seed=self.watch.plan.seed,
        )
        began = time.monotonic()
        before = self.sent - self.failed
        try:
            await drive(
                target,
                self._source,
                spec,
                events,
                on_reply=lambda request, reply, failure, times: self._source.answered(request, reply),
                stop=stop,
                progress=lambda share: self._tick(events),
            )
        finally:
            self._tick(events)
        answered = self.sent - self.failed > before
        left = began + seconds - time.monotonic()
        if answered and left > 0.0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await stop.wait()
        return answered or not events.failed

    # ── what came of it ───────────────────────────────────────────────────────────────────────────────────────────────

    def _tick(self, events: Events) -> None:
        """Takes the rows that ended."""
        now, stamp = self._clock(), time.monotonic_ns()
        for row in rows(events.drain_rows()):
            due, first, end = (row[_FIELDS[name]] for name in ("due_ns", "first_ns", "end_ns"))
            kind = str(row[_FIELDS["status"]])
            if kind == "cancelled" or not isinstance(due, int) or not isinstance(end, int):
                continue
            ended = now - (stamp - events.start_ns - end) / 1e9
            ttft = (first - due) / 1e6 if isinstance(first, int) else None
            self._add(int(ended), kind, {"response_time": (end - due) / 1e6, "ttft": ttft})
        if self._board.viewers:
            self._board.put(**self._shown(events))

    def _add(self, second: int, kind: str, times: dict[str, float | None]) -> None:
        self._total.add(kind, times)
        for folds in (self._folds, self._recent):
            folds.setdefault(second, Fold()).add(kind, times)
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    async def _keep(self) -> None:
        while True:
            await self.flush()
            await asyncio.sleep(FLUSH_S)

    async def flush(self) -> None:
        """Writes what came, looks for alarms, and shows both."""
        folds, self._folds = self._folds, {}
        now = self._clock()
        try:
            if folds:
                await asyncio.to_thread(self._store.add, folds, now)
            folds = {}
            told, parts = await asyncio.to_thread(self._looked_at, now)
        except (HistoryError, OSError) as error:
            self._put_back(folds)
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._teller.say(f"nothing can be kept: {error}")
                self._board.put(status=f"Nothing can be kept: {error}")
            return
        self._trouble = None
        for alarm in told:
            self._teller.tell(alarm)
        self._board.put(**parts)

    def _put_back(self, folds: dict[int, Fold]) -> None:
        """What could not be written waits for the next try, as far as memory may grow."""
        for second, fold in folds.items():
            self._folds.setdefault(second, Fold()).absorb(fold)
        while len(self._folds) > MOST_WAITING_S:
            del self._folds[min(self._folds)]

    def _looked_at(self, now: float) -> tuple[list[Alarm], dict[str, object]]:
        """What fired and was resolved, which is noted, and what is to be shown; in a thread, for the disk may take its
        time."""
        fired, resolved = advanced(self._alarms, self._findings(now), now)
        if fired or resolved:
            self._store.note(fired, resolved)
            for alarm in resolved:
                del self._alarms[alarm.name]
            self._alarms |= {alarm.name: alarm for alarm in fired}
        parts: dict[str, object] = {"alerts": [message(one, self.watch.plan.target) for one in self._store.alarms(20)]}
        for part, level in (("minute", MINUTE), ("hour", HOUR)):
            spans = self._store.spans(level, now - RECENT * level)
            parts[f"{part}s"], parts[f"{part}_failures"] = _columns(spans), _failures(spans)
        parts["status"] = "Watching." if not self._alarms else _firing(len(self._alarms))
        return [*fired, *resolved], parts

    def _findings(self, now: float) -> list[Finding]:
        recent = self._store.spans(SECOND, now - self.watch.window_s)
        found = [criterion(rule, recent, firing=rule.name in self._alarms) for rule in self.watch.criteria]
        if now - self._looked_back >= LOOK_BACK_S:
            self._looked_back = now
            hours = self._store.spans(HOUR, now - PAST_S)
            whole = [span for span in hours if span.start_s + HOUR <= now]
            late = [span for span in whole if span.start_s >= now - TREND_S]
            self._slow = [
                finding
                for name in WATCHED
                for finding in (
                    rising(name, late, firing=f"{name} trend" in self._alarms),
                    regressed(
                        name, whole[:-1], whole[-1] if whole else None, firing=f"{name} regression" in self._alarms
                    ),
                )
            ]
        return [*found, *self._slow]

    def _shown(self, events: Events) -> dict[str, object]:
        """What changes from tick to tick."""
        times = list(self._recent)
        folds = list(self._recent.values())
        took: list[Histogram] = [fold.times["response_time"] for fold in folds]
        return {
            "counts": {"sent": self.sent, "failed": self.failed, "in flight": events.in_flight},
            "recent": {
                "t_ms": [second * 1000 for second in times],
                "ok": [fold.ok for fold in folds],
                "failed": [fold.failed for fold in folds],
            },
            "latency": {
                "t_ms": [second * 1000 for second in times],
                "median": [one.quantile(0.5) if one.count else None for one in took],
                "longest": [one.max if one.count else None for one in took],
            },
        }


def _columns(spans: Sequence[Span]) -> dict[str, list[float | None]]:
    """Quantiles of the response time, by span."""
    columns: dict[str, list[float | None]] = {name: [] for name in ("t_ms", "p50", "p95", "p99")}
    for span in spans:
        histogram = merged([span.times["response_time"]] if "response_time" in span.times else [])
        values = [None] * 3 if histogram is None else histogram.quantiles([0.5, 0.95, 0.99])
        for name, value in zip(("p50", "p95", "p99"), values, strict=True):
            columns[name].append(value)
        columns["t_ms"].append(span.start_s * 1000.0)
    return columns


def _failures(spans: Sequence[Span]) -> dict[str, list[float | None]]:
    """The share of failures in percent, by span."""
    return {
        "t_ms": [span.start_s * 1000.0 for span in spans],
        "failed": [100.0 * span.failed / ended if (ended := span.ok + span.failed) else None for span in spans],
    }


def _firing(count: int) -> str:
    return "1 alert is firing." if count == 1 else f"{count} alerts are firing."
