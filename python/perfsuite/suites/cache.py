"""The hit rate of an embedded system's cache, from the end of warm-up."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING

from perfsuite.evidence import Estimate, Evidence, NotMeasured, Share
from perfsuite.workloads.conversations import TURNS

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

WARMUP_SHARE = 0.5
"""A cache fills as it is asked: only the second half of the time shows what it holds once it is warm."""
WARM_AFTER = sum(TURNS) // 4
"""… and not before every slot has asked half of the messages that a conversation has: until then most of what recurs is
asked for the first time, and no cache could have it."""
TELLING = WARM_AFTER // 2
"""Fewer messages a slot after the warm-up are too small a part of a conversation to tell what all of it is like."""
SLICES = 400
SHORTEST_SLICE_S = 0.25


class CacheWatch:
    """Reads the cache's counters as replies come, SLICES times at most; the warm-up does not count.

    ``slots``: the conversations that are held at once.
    """

    def __init__(self, session: Session, slots: int) -> None:
        self._inside = session.target.inspection
        self._name = session.target.name
        self._pattern = session.access_pattern
        self._slots = slots
        self._started = time.monotonic()
        self._warm_s = session.duration_s * WARMUP_SHARE
        self._slice_s = max(SHORTEST_SLICE_S, session.duration_s / SLICES)
        self._next = 0.0
        self._replies = 0
        self._warm_at: int | None = None
        self._readings: list[tuple[float, int, int]] = []
        self._warm_from = 0

    def look(self) -> None:
        """A request has ended: takes a reading when one is due."""
        self._replies += 1
        if self._inside is None:
            return
        t_s = time.monotonic() - self._started
        if self._warm_at is None and t_s >= self._warm_s and self._replies >= WARM_AFTER * self._slots:
            self._warm_at = self._replies
            self._warm_from = len(self._readings)
            self._next = 0.0
        if t_s >= self._next:
            self._readings.append((t_s, *self._inside.cache_counts()))
            self._next = t_s + self._slice_s

    def evidence(self) -> Evidence:
        """The share of hits since the end of the warm-up, each slice of time a cluster.  Of a run that was too short
        for a warm cache nothing follows about the cache: any share may be its own."""
        if self._inside is None:
            return NotMeasured(f"{self._name} does not show its cache")
        if not self._readings:
            return NotMeasured("no request ended in the measured time")
        self._readings.append((time.monotonic() - self._started, *self._inside.cache_counts()))
        warm = self._replies - self._warm_at if self._warm_at is not None else 0
        told = warm >= TELLING * self._slots
        # A warm-up that hardly ended is all that there is to show of a short run.
        readings = self._readings[self._warm_from :] if told else self._readings
        clusters, series = [], []
        for (_, hits_0, misses_0), (t_s, hits_1, misses_1) in pairwise(readings):
            hits, looked_up = hits_1 - hits_0, hits_1 - hits_0 + misses_1 - misses_0
            if looked_up:
                clusters.append((float(hits), float(looked_up)))
                series.append((t_s, hits / looked_up))
        if not clusters:
            return NotMeasured("the cache was not asked in the measured time")
        hit = sum(cluster[0] for cluster in clusters)
        trials = sum(cluster[1] for cluster in clusters)
        details: dict[str, object] = {"access_pattern": self._pattern, "requests": self._replies, "requests_warm": warm}
        if not told:
            # Half of a run is warm-up, and a warm-up of WARM_AFTER leaves as many for what is told.
            longer = 2.0 * WARM_AFTER * self._slots / self._replies
            share = hit / trials
            details["times_as_long"] = longer
            return Estimate(value=share, low=0.0, high=1.0, samples=round(trials), series=series, details=details)
        return Share(hits=hit, trials=trials, clusters=clusters, series=series, details=details)
