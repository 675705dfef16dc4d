"""What came of queries, slice by slice, and the evidence in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from perfsuite import stats
from perfsuite._core import Histogram
from perfsuite.evidence import Estimate, Evidence, NotMeasured, Samples, Share

if TYPE_CHECKING:
    from perfsuite.errors import PerfsuiteError
    from perfsuite.suites.database.work import Done
    from perfsuite.suites.session import Session

NEVER = "no such operation came to an end"
TIMED = (
    "session_create_time",
    "message_create_time",
    "sessions_query_time",
    "messages_query_time",
    "memories_query_time",
    "logs_query_time",
)


class Tally:
    """The times of one kind of operation; each slice is a block, for neighbours in time are alike."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.times = Histogram(precision=10)
        self.blocks: list[Histogram] = []
        self.series: list[tuple[float, float]] = []
        self.rows = 0
        self.failed = 0
        self.longest_ms = 0.0
        self.seconds: list[float] = []
        self.made: list[float] = []

    @property
    def tried(self) -> int:
        """Operations, the failed ones included."""
        return self.times.count + self.failed

    def take(self, done: Done) -> None:
        """A slice: what all workers did in it.  Its errors are told to the phase."""
        for kind, count in done.errors.items():
            for _ in range(count):
                self._session.count_failure(kind, done.first[kind])
        self.merge(done)

    def merge(self, done: Done) -> None:
        """A slice whose errors another tally has told."""
        if done.times.count:
            self.blocks.append(done.times)
            self.times.merge(done.times)
            self.series.append((time.monotonic() - self._session.phase_started, done.times.mean))
        self.seconds.append(done.seconds)
        self.made.append(float(done.times.count))
        self.rows += done.rows
        self.failed += done.failed
        self.longest_ms = max(self.longest_ms, done.longest_ms)

    def evidence(self, details: Mapping[str, object]) -> Evidence:
        """The times; failed operations are slower than any answer."""
        if not self.tried:
            return NotMeasured(NEVER)
        return Samples(
            histogram=self.times,
            blocks=self.blocks,
            failed=self.failed,
            longest_wait=self.longest_ms,
            series=self.series,
            details={**details, "rows_each": self.rows / self.times.count if self.times.count else 0.0},
        )


class Tallies:
    """One for each metric, one for all queries, and all errors."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._by_metric = {name: Tally(session) for name in TIMED}
        self.all_queries = Tally(session)
        self.others: list[Tally] = []

    def of(self, metric: str) -> Tally:
        """The one of a metric."""
        return self._by_metric[metric]

    def count(self, *others: Tally) -> None:
        """Their operations count among all, and are no metric's."""
        self.others += others

    def lost(self, error: PerfsuiteError) -> None:
        """The end of the database, or of a worker, is an error of its own."""
        from perfsuite.database.trouble import DatabaseError

        kind = error.trouble.kind if isinstance(error, DatabaseError) else "timeout"
        self._session.count_failure(kind, str(error))

    def evidence(self, details: Mapping[str, object]) -> dict[str, Evidence]:
        """Each metric's, the queries a second, and the share that failed."""
        found: dict[str, Evidence] = {}
        for index, (name, tally) in enumerate(self._by_metric.items()):
            found[name] = tally.evidence(details if index == 0 else {})
        every = [*self._by_metric.values(), *self.others]
        found["query_time"] = self.all_queries.evidence({})
        found["query_rate"] = rate(self.all_queries)
        found["database_errors"] = errors(every)
        return found


def rate(tally: Tally) -> Evidence:
    """Operations a second of all workers together; slices are blocks."""
    if not tally.times.count:
        return NotMeasured(NEVER)
    seconds = sum(tally.seconds)
    value = tally.times.count / seconds
    low, high = 0.0, float("inf")
    if len(tally.seconds) > 1:
        between = stats.block_interval(tally.made, tally.seconds)
        low, high = max(0.0, between.low), between.high
    return Estimate(value=value, low=min(low, value), high=max(high, value), samples=tally.times.count)


def errors(tallies: list[Tally]) -> Evidence:
    """Operations that failed, of all that were tried."""
    tried = sum(one.tried for one in tallies)
    if not tried:
        return NotMeasured("nothing was asked of the database")
    return Share(hits=sum(one.failed for one in tallies), trials=tried)
