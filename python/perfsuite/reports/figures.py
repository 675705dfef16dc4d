"""How a metric and foreign text look in every report; how a quantity does is in ``units``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from perfsuite.metric import labelled
from perfsuite.units import digits_of, figure, goal, number, scale, with_unit

if TYPE_CHECKING:
    from perfsuite.analysis.ranking import Totals
    from perfsuite.result import ErrorBars, MetricResult, PhaseResult

MOST_TIMES = 1_000
"""Within its objective, beyond which a factor says nothing more."""
LARGER = 8.0
"""An interval that reaches so many times further than the value chooses the unit for both."""


class MetricRow(NamedTuple):
    """A metric as text: the value with its unit, and everything else in that same unit without repeating it."""

    name: str
    value: str
    interval: str
    error: str
    target: str
    verdict: str


def row_of(m: MetricResult) -> MetricRow:
    """A metric for a row of a table."""
    bounds = [abs(bound) for bound in m.interval or () if bound is not None and math.isfinite(bound)]
    reference = m.value if m.value is not None else m.target if m.target is not None else 0.0
    if bounds and max(bounds) > LARGER * abs(reference):
        reference = max(bounds)  # a slope near zero, say: its interval is what there is to read
    divisor, name = scale(reference, m.unit)

    def scaled(value: float | None) -> str:
        return number(None if value is None else value / divisor, digits_of(m.unit))

    value = interval = ""
    if m.value is not None:
        value = ("> " if m.censored else "") + with_unit(scaled(m.value), printable(name))
        if m.interval is not None and tuple(m.interval) != (m.value, m.value):
            low, high = m.interval
            # An open side reads as ∞; of a value among the failures nothing but "longer than anyone waited" is known.
            interval = f"[{scaled(-math.inf if low is None else low)}–{scaled(math.inf if high is None else high)}]"
            interval = "" if m.censored and low in (None, math.inf) else interval
    error = f"±{scaled(m.measurement_error)}" if m.measurement_error else ""
    target = f"{m.comparison} {printable(goal(m.target, m.unit))}" if m.target is not None else ""
    times = m.details.get("times_within_objective")
    if target and m.verdict == "passed" and isinstance(times, float) and math.isfinite(times):
        # A slope of nearly nothing is so by any factor.
        target += f" ({number(times, 2) if times <= MOST_TIMES else f'over {MOST_TIMES:,}'} × within)"
    verdict = m.verdict if not m.reason else f"{m.verdict}: {printable(m.reason)}"
    return MetricRow(label(m), value, interval, error, target, verdict)


def requests(sums: Totals, sent: str = "sent") -> str:
    """What was sent, what of it to warm up, and what failed, told apart: a warm-up that fails counts in no figure."""
    lost = f", of which {sums.warmup_failed:,} failed" if sums.warmup_failed else ""
    warmup = f" and {sums.warmup:,} to warm up{lost}" if sums.warmup else ""
    return f"{sums.sent:,} {sent}{warmup}{';' if lost else ','} {sums.failed:,} failed"


def error_bars(phase: PhaseResult) -> list[str]:
    """What is known of the client's own error in each load of a phase, in words, each once."""
    return list(dict.fromkeys(map(error_bar, phase.error_bars)))


def error_bar(one: ErrorBars) -> str:
    """The client's own error under a load, or how to measure it."""
    if one.checked is not None:
        return f"the client's own error: {printable(one.text)}"
    return printable(f"{one.text}: {one.command}" if one.command else one.text)


def label(m: MetricResult) -> str:
    """The metric's name with the statistic that is judged."""
    return printable(labelled(m.name, m.stat))


def samples(m: MetricResult) -> str:
    """How many samples, and how many independent ones they are worth where that is fewer."""
    if m.n_effective is None or round(m.n_effective) >= m.samples:
        return f"{m.samples:,}"
    return f"{m.samples:,} (worth {max(1, round(m.n_effective)):,})"


def stat(m: MetricResult, name: str) -> str:
    """One of the metric's stats with its unit."""
    return "" if m.stats is None else printable(figure(getattr(m.stats, name), m.unit))


def printable(text: str, longest: int = 500) -> str:
    """Foreign text on one line, without anything that steers a terminal or turns the reading direction."""
    text = " ".join(text.split())
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
