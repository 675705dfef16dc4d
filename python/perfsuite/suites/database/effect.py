"""What an index is worth: the same look-up with it and without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite.stats import Interval
from perfsuite.stats.intervals import histogram_quantile
from perfsuite.suites.database.ground import PREFIX

if TYPE_CHECKING:
    from perfsuite._core import Histogram
    from perfsuite.database.plans import QueryPlan
    from perfsuite.suites.database.operations import Lookup
    from perfsuite.suites.database.tally import Tally


QUICK = 0.1
"""The quickest tenth, which both sides are compared by: what other work of the machine does not reach.  That adds as
much to a look-up of 0.1 ms, which waits for its turn, as to one of 10 ms, and shrinks the ratio of the medians."""


@dataclass(frozen=True, slots=True)
class Effect:
    """``times``: how many times quicker it is with the index, by the quickest tenth of each side, below 1 where it is
    slower; None where one side has no answer.  ``used``: whether the plan has the index; None where plans are not
    read."""

    index: str
    query: str
    times: Interval | None
    samples: int
    with_ms: Histogram
    without_ms: Histogram
    plan_with: QueryPlan | None
    plan_without: QueryPlan | None
    used: bool | None

    def row(self) -> dict[str, object]:
        """For a table in the report."""
        known = self.times is not None
        return {
            "index": self.index,
            "look-up": self.query,
            "used": self.used,
            "times_quicker": self.times.estimate if self.times is not None else None,
            "interval": [self.times.low, self.times.high] if self.times is not None else None,
            "times_quicker_by_medians": _ratio(self.without_ms, self.with_ms) if known else None,
            "times_slower": 1.0 / self.times.estimate if self.times is not None and self.times.estimate > 0.0 else None,
            "answered_with": self.with_ms.count,
            "answered_without": self.without_ms.count,
            "p50_with_ms": self.with_ms.quantile(0.5) if known else None,
            "p50_without_ms": self.without_ms.quantile(0.5) if known else None,
            "p10_with_ms": self.with_ms.quantile(QUICK) if known else None,
            "p10_without_ms": self.without_ms.quantile(QUICK) if known else None,
            "p95_with_ms": self.with_ms.quantile(0.95) if known else None,
            "p95_without_ms": self.without_ms.quantile(0.95) if known else None,
            "plan_with": str(self.plan_with) if self.plan_with is not None else None,
            "plan_without": str(self.plan_without) if self.plan_without is not None else None,
        }


def _ratio(slow: Histogram, quick: Histogram) -> float | None:
    below = quick.quantile(0.5)
    return slow.quantile(0.5) / below if below > 0.0 else None


def effect_of(lookup: Lookup, with_it: Tally, without: Tally, plan: QueryPlan | None, bare: QueryPlan | None) -> Effect:
    """The effect of a look-up's index."""
    name = lookup.index.name
    used = None if plan is None else f"{PREFIX}{name}" in plan.indexes
    return Effect(
        index=name,
        query=lookup.query.name,
        times=_times(with_it.times, without.times),
        samples=with_it.times.count + without.times.count,
        with_ms=with_it.times,
        without_ms=without.times,
        plan_with=plan,
        plan_without=bare,
        used=used,
    )


def _times(quick: Histogram, slow: Histogram) -> Interval | None:
    """The ratio of the quickest tenths; from the farther ends of their intervals, which is wider than 95 %."""
    if not quick.count or not slow.count:
        return None
    below, above = histogram_quantile(quick, QUICK), histogram_quantile(slow, QUICK)
    if below.estimate <= 0.0:
        return None
    low = above.low / below.high if below.high > 0.0 else 0.0
    high = above.high / below.low if below.low > 0.0 else float("inf")
    return Interval(above.estimate / below.estimate, low, high)
