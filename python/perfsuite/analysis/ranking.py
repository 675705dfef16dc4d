"""What of a result to look at first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from perfsuite.metric import lower_is_better
from perfsuite.result import MetricResult, PhaseResult

WORST_FIRST = ("failed", "undecided", "not measured", "passed", "informative")


class Placed(NamedTuple):
    """A metric and the phase that it is of."""

    phase: str
    metric: MetricResult

    @property
    def margin(self) -> float | None:
        """See ``margin``."""
        return margin(self.metric)


class Totals(NamedTuple):
    """The requests of all phases together, those of the warm-ups apart; ``delivered`` of ``wanted`` requests a second,
    which is what fell due of them, where one phase had a rate."""

    sent: int
    warmup: int
    warmup_failed: int
    failed: int
    delivered: float | None
    wanted: float | None


def margin(m: MetricResult) -> float | None:
    """How far a metric is on the good side of its target, relative to the target; negative when it misses.

    A share that has to be large is compared by what is bad of it: 98 % where 99 % were wanted is twice the bad allowed,
    -100 %.  None without a value or a target.
    """
    if m.value is None or m.target is None or m.comparison is None:
        return None
    if m.censored:
        return -math.inf
    lower = lower_is_better(m.comparison)
    gap = m.target - m.value if lower else m.value - m.target
    scale = 1.0 - m.target if m.unit == "ratio" and not lower else abs(m.target)
    return gap / scale if scale else math.copysign(math.inf, gap) if gap else 0.0


def ordered(phases: Iterable[PhaseResult]) -> list[Placed]:
    """All metrics, worst first: failed, undecided, not measured, passed, informative, each by margin."""
    placed = [Placed(phase.name, m) for phase in phases for m in phase.metrics]
    return sorted(placed, key=lambda p: (WORST_FIRST.index(p.metric.verdict), _rank(p.margin)))


def worst(phases: Iterable[PhaseResult], count: int = 5) -> list[Placed]:
    """The ``count`` measured criteria with the smallest margins, smallest first; those that make the verdict are among
    them, as far as they are so few, however large their margins."""
    placed = sorted((p for p in ordered(phases) if p.margin is not None), key=lambda p: _rank(p.margin))
    making = _making(placed)
    others = [p for p in placed if p not in making]
    return sorted([*making, *others][:count], key=lambda p: _rank(p.margin))


def _making(placed: Sequence[Placed]) -> list[Placed]:
    """What a run fails for, or is left undecided for where nothing failed."""
    for verdict in ("failed", "undecided"):
        found = [p for p in placed if p.metric.verdict == verdict and (p.metric.critical or p.metric.required)]
        if found:
            return found
    return []


def totals(phases: Sequence[PhaseResult]) -> Totals:
    """The requests of a run."""
    rates = [
        (p.delivered.get("rate"), p.delivered.get("due_rate") or p.requested["rate"])
        for p in phases
        if p.requested.get("rate")
    ]
    delivered, wanted = rates[0] if len(rates) == 1 else (None, None)
    sent, warmup, lost, failed = (_sum(phases, name) for name in ("requests", "warmup", "warmup_failed", "failed"))
    return Totals(sent, warmup, lost, failed, delivered, wanted)


def _sum(phases: Iterable[PhaseResult], name: str) -> int:
    return sum(value for phase in phases if isinstance(value := phase.delivered.get(name), int))


def _rank(value: float | None) -> float:
    return math.inf if value is None else value
