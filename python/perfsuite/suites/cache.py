"""The hit rate of an embedded system's cache, from the end of warm-up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from perfsuite.evidence import Evidence, NotMeasured, Share

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

WARMUP_SHARE = 0.5
"""A cache fills as it is asked: only the second half of the time shows what it holds once it is warm."""
SLICES = 400
SHORTEST_SLICE_S = 0.25


class CacheWatch:
    """Reads the cache's counters as replies come, SLICES times at most; the warm-up does not count."""

    def __init__(self, session: Session) -> None:
        self._inside = session.target.inspection
        self._name = session.target.name
        self._pattern = session.access_pattern
        self._started = time.monotonic()
        self._next = session.duration_s * WARMUP_SHARE
        self._slice_s = max(SHORTEST_SLICE_S, session.duration_s / SLICES)
        self._readings: list[tuple[float, int, int]] = []

    def look(self) -> None:
        """Takes a reading when one is due."""
        t_s = time.monotonic() - self._started
        if self._inside is not None and t_s >= self._next:
            self._readings.append((t_s, *self._inside.cache_counts()))
            self._next = t_s + self._slice_s

    def evidence(self) -> Evidence:
        """The share of hits since the first reading; each slice of time is a cluster."""
        if self._inside is None:
            return NotMeasured(f"{self._name} does not show its cache")
        if not self._readings:
            return NotMeasured("no request ended after the warm-up")
        self._readings.append((time.monotonic() - self._started, *self._inside.cache_counts()))
        clusters, series = [], []
        for (_, hits_0, misses_0), (t_s, hits_1, misses_1) in zip(self._readings, self._readings[1:], strict=False):
            hits, looked_up = hits_1 - hits_0, hits_1 - hits_0 + misses_1 - misses_0
            if looked_up:
                clusters.append((float(hits), float(looked_up)))
                series.append((t_s, hits / looked_up))
        if not clusters:
            return NotMeasured("the cache was not asked after the warm-up")
        return Share(
            hits=sum(hits for hits, _ in clusters),
            trials=sum(trials for _, trials in clusters),
            clusters=clusters,
            series=series,
            details={"access_pattern": self._pattern},
        )
