"""The interface of a collector, and the thread that samples collectors beside a run."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Protocol

LONGEST_SERIES = 512
"""More than a chart has columns; an hour's samples of everything that is looked at would else be most of what a run
keeps."""
MOST_SHARE = 0.01
"""Of a processor: a look that costs more than this share of the interval is followed by a longer pause."""


class Collector(Protocol):
    """Something that can be looked at again and again while a run goes on.

    ``sample`` returns the present value of each of its series by name (units in the names: ``_bytes``, ``_percent``);
    it is called from one thread.  ``absent`` is why there is nothing to look at any more, or None.
    """

    name: str

    @property
    def absent(self) -> str | None: ...

    def sample(self) -> Mapping[str, float]: ...


class BoundedSeries:
    """A series in time that never holds more than LONGEST_SERIES points.

    When it is full, neighbours are merged in pairs: of each pair the higher value stays, at its own time, so that a
    peak is never lost; the spacing doubles.
    """

    def __init__(self) -> None:
        self._times = array("d")
        self._values = array("d")
        self._highest = (0.0, -math.inf)
        """Of those not yet merged."""
        self._pending = 0
        self._stride = 1

    def add(self, t_s: float, value: float) -> None:
        """Appends a point; ``t_s`` must not be less than the last one's."""
        if not self._pending or value > self._highest[1]:
            self._highest = (t_s, value)
        self._pending += 1
        if self._pending < self._stride:
            return
        self._times.append(self._highest[0])
        self._values.append(self._highest[1])
        self._pending = 0
        if len(self._values) >= LONGEST_SERIES:
            self._halve()

    def _halve(self) -> None:
        times, values = self._times, self._values
        higher = [i if values[i] >= values[i + 1] else i + 1 for i in range(0, len(values), 2)]
        self._times = array("d", (times[i] for i in higher))
        self._values = array("d", (values[i] for i in higher))
        self._stride *= 2

    def points(self) -> list[tuple[float, float]]:
        """All points, oldest first; the last is the highest of those not yet merged."""
        found = list(zip(self._times, self._values, strict=True))
        return [*found, self._highest] if self._pending else found


class Sampler:
    """Samples collectors every ``interval_s`` in a thread of its own, from ``start`` to ``stop``; less often where the
    looks in between would take more than MOST_SHARE of a processor, but at least every ``longest_s``.

    A collector that raises, or that becomes absent, is asked no more; what it had given is kept, and ``ended`` has
    (seconds since start, collector, why).  ``cost_s`` is the CPU time that sampling took.
    """

    def __init__(self, collectors: Sequence[Collector], interval_s: float, longest_s: float = math.inf) -> None:
        self._collectors = list(collectors)
        self.interval_s = interval_s
        self.longest_s = longest_s
        self._series: dict[str, BoundedSeries] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = 0.0
        self.ended: list[tuple[float, str, str]] = []
        self.cost_s = 0.0

    def start(self) -> None:
        """Begins to sample; the first sample is taken before this returns."""
        self._started = time.monotonic()
        self._look()
        self._thread = threading.Thread(target=self._run, name="perfsuite-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Takes a last sample and ends the thread; may be called again."""
        if self._thread is None:
            return
        self._done.set()
        self._thread.join()
        self._thread = None
        self._look()

    def series(self) -> dict[str, list[tuple[float, float]]]:
        """What was sampled so far: ``collector.series`` → [(seconds since start, value), …]."""
        with self._lock:
            return {name: series.points() for name, series in self._series.items()}

    def _run(self) -> None:
        due = time.monotonic() + self.interval_s
        while not self._done.wait(max(0.0, due - time.monotonic())):
            cost = self._look()
            due = max(due + self.interval_s, time.monotonic() + min(cost / MOST_SHARE, self.longest_s))

    def _look(self) -> float:
        cpu = time.thread_time()
        for collector in list(self._collectors):
            values: Mapping[str, float] = {}
            try:
                why = collector.absent
                if why is None:
                    values = collector.sample()
            except Exception as error:  # noqa: BLE001 - a plug-in's error must not end the run; it is reported
                why = f"{type(error).__name__}: {error}"
            t_s = time.monotonic() - self._started
            if why is not None:
                self.ended.append((t_s, collector.name, why))
                self._collectors.remove(collector)
            with self._lock:
                for name, value in values.items():
                    self._series.setdefault(f"{collector.name}.{name}", BoundedSeries()).add(t_s, value)
        cost = time.thread_time() - cpu
        self.cost_s += cost
        return cost
