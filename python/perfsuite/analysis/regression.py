"""Did it get slower?  Runs against runs.

What varies independently is the run, not the sample: a thousand samples of one process share its memory layout, its
caches and the minute it ran in.  So each run gives one number for each figure, and Welch's t test compares the
logarithms of one side's runs with the other's.  A change is real when p < 0.01 after Holm's adjustment for all figures
that were compared, and the change is more than 3 %; the thresholds of the source document then say how grave it is.
What is neither shown to have changed nor shown not to have is inconclusive, with the smallest change that could have
been seen.

A run that was disturbed (another process, a page cache gone) is an outlier that no benchmark can keep out, and a single
one hides a change of 10 % from Welch.  So what lies further than three deviations (by the median absolute deviation)
from its side's median is drawn in to there, and counts as drawn in: variance and degrees of freedom are those of a
winsorised sample (Yuen, Biometrika 61, 1974).  Where there is no outlier this is Welch's test itself.

Pure functions: nothing is read or written here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from perfsuite import _core
from perfsuite.analysis.comparable import Figure
from perfsuite.stats import holm
from perfsuite.stats.welch import Mean, Welch, factor, welch

Verdict = Literal["ok", "improved", "regressed", "drifting", "inconclusive"]
Severity = Literal["warning", "notice"]


class Standing(NamedTuple):
    """What a verdict is beside the others: of several, that of the lowest ``rank`` is the verdict of all.  ``open``:
    neither good nor bad by itself, and bad where ``--fail-on-inconclusive`` insists."""

    rank: int
    open: bool = False


STANDING: dict[Verdict, Standing] = {
    "regressed": Standing(0),
    "drifting": Standing(1, open=True),
    "inconclusive": Standing(2, open=True),
    "improved": Standing(3),
    "ok": Standing(4),
}
"""Every verdict.  How each is shown: ``reports.changes.LOOKS``."""

ALPHA = 0.01
LEAST_CHANGE = 0.03
LEAST_SHARE = 0.01
"""Of a share that is 0 in some run, where no ratio exists: the least difference that counts, one point in a hundred."""
OUTLYING = 3.0
FEWEST_RUNS = 3

LATENCY, THROUGHPUT, MEMORY = 0.10, 0.10, 0.20
"""The source document's thresholds: beyond them a regression is a warning, within them a notice."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, before and after.

    ``ratio`` is after / before, between ``low`` and ``high`` (99 %, of this figure alone); for a share that is 0
    somewhere they are differences and ``absolute`` is true.  ``p_value`` is adjusted for all that were compared.
    ``smallest_visible``: the least change that these runs would have shown four times in five; None where no change
    could have been seen.  ``severity`` is set where it regressed.  ``suspicious``: fresh runs would decide it.
    """

    figure: Figure
    verdict: Verdict
    before: float | None = None
    after: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    smallest_visible: float | None = None
    severity: Severity | None = None
    runs: tuple[int, int] = (0, 0)
    drawn_in: int = 0
    absolute: bool = False
    suspicious: bool = False
    reason: str = ""

    @property
    def share(self) -> float | None:
        """The change as a share of before (0.1 is 10 % more), or as a difference where ``absolute``."""
        if self.ratio is None:
            return None
        return self.ratio if self.absolute else self.ratio - 1.0


class Test(NamedTuple):
    """Welch's test of two samples, and how many outliers were drawn in for it."""

    welch: Welch
    drawn_in: int


def severity_of(figure: Figure, share: float) -> Severity:
    """How grave a regression is, by the thresholds of the source document.

    ``share`` is after / before - 1.  Memory: from 20 % more; throughput: from 10 % less; all else from 10 % worse."""
    if figure.unit == "bytes":
        limit = MEMORY if figure.better != "higher" else LATENCY
    else:
        limit = THROUGHPUT if figure.better == "higher" else LATENCY
    return "warning" if abs(share) >= limit * (1.0 - 1e-9) else "notice"


def relevant(figure: Figure) -> float:
    """The change that these figures are watched for: what is smaller than it is ok."""
    return MEMORY if figure.unit == "bytes" and figure.better == "lower" else LATENCY


def judge_changes(
    figures: Mapping[str, Figure],
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    *,
    alpha: float = ALPHA,
    least_change: float = LEAST_CHANGE,
    few: Mapping[str, Welch] | None = None,
) -> list[Change]:
    """Every figure that both sides have, a value for each run, judged together.  ``few``: the tests of those that have
    too few runs for one of their own (``analysis.alone``).

    The family of Holm's adjustment is the figures that gate and vary at all: what is the same in every run of both
    sides cannot raise a false alarm.  Figures that do not gate have a p value of their own, and no verdict but ok or
    inconclusive rests on them.
    """
    pairs = {key: (before[key], after[key]) for key in figures if before.get(key) and after.get(key)}
    absolute = {key: _absolute(*pair) for key, pair in pairs.items()}
    tests = {
        key: winsorised_welch(_scaled(one, absolute[key]), _scaled(other, absolute[key]))
        for key, (one, other) in pairs.items()
        if min(len(one), len(other)) >= FEWEST_RUNS and absolute[key] is not None
    }
    tests |= {key: Test(found, 0) for key, found in (few or {}).items() if key in pairs and key not in tests}
    family = [key for key, test in tests.items() if figures[key].gates and test.welch.error > 0.0]
    # One figure under two names (a latency, and that of the only tier there is) is compared once.
    twins = {key: tuple(map(tuple, pairs[key])) for key in family}
    distinct = {twin: tests[key].welch.p_value for key, twin in twins.items()}
    stricter = dict(zip(distinct, holm(list(distinct.values())), strict=True))
    adjusted = {key: stricter[twin] for key, twin in twins.items()}
    strictest = alpha / max(1, len(distinct))
    return [
        _change(figures[key], pair, absolute[key], tests.get(key), adjusted.get(key), strictest, alpha, least_change)
        for key, pair in pairs.items()
    ]


def winsorised_welch(before: Sequence[float], after: Sequence[float]) -> Test:
    """Welch's test of two samples of two values or more, outliers drawn in (see above)."""
    limit = outlying(before, after)
    sides = drawn_in(before, limit), drawn_in(after, limit)
    return Test(welch(*sides), len(before) + len(after) - sides[0].n - sides[1].n)


def overall(changes: Sequence[Change]) -> Verdict:
    """The verdict of all that gate: regressed if one did, else drifting, else inconclusive if one is; else improved if
    one did, else ok.  Nothing that gates: inconclusive."""
    return worst(change.verdict for change in changes if change.figure.gates)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of several; inconclusive where there is none."""
    return min(verdicts, key=lambda verdict: STANDING[verdict].rank, default="inconclusive")


def _change(
    figure: Figure,
    pair: tuple[Sequence[float], Sequence[float]],
    absolute: bool | None,
    test: Test | None,
    adjusted: float | None,
    strictest: float,
    alpha: float,
    least_change: float,
) -> Change:
    before, after = (_core.median(list(side)) for side in pair)
    runs = (len(pair[0]), len(pair[1]))
    if absolute is None:
        reason = "values of both signs, or a zero, have no ratio"
        return Change(figure=figure, verdict="inconclusive", before=before, after=after, runs=runs, reason=reason)
    if test is None:
        return Change(
            figure=figure,
            verdict="inconclusive",
            before=before,
            after=after,
            ratio=after - before if absolute else after / before,
            absolute=absolute,
            runs=runs,
            reason=f"{runs[0]} and {runs[1]} runs: too few",
        )
    least = LEAST_SHARE if absolute else math.log1p(least_change)
    watched = relevant(figure) if absolute else math.log1p(relevant(figure))
    found = test.welch
    p_value = found.p_value if adjusted is None else adjusted
    level = strictest if adjusted is not None else alpha
    margin, visible = found.margin(alpha), found.visible(level)
    real = p_value < alpha and abs(found.change) > least
    verdict: Verdict = "inconclusive"
    reason = ""
    if real and figure.gates and figure.better is not None:
        verdict = "regressed" if (found.change > 0.0) == (figure.better == "lower") else "improved"
    elif not real and abs(found.change) + margin < watched:
        verdict = "ok"
    elif real:
        reason = "changed; it is shown, and decides nothing"
    else:
        reason = "too few or too noisy runs"
    back = (lambda x: x) if absolute else factor
    ratio = back(found.change)
    share = abs(ratio) if absolute else ratio - 1.0
    return Change(
        figure=figure,
        verdict=verdict,
        before=before,
        after=after,
        ratio=ratio,
        low=back(found.change - margin),
        high=back(found.change + margin),
        p_value=p_value,
        smallest_visible=max(visible, LEAST_SHARE) if absolute else max(factor(visible) - 1.0, least_change),
        severity=severity_of(figure, share) if verdict == "regressed" else None,
        runs=runs,
        drawn_in=test.drawn_in,
        absolute=absolute,
        reason=reason,
    )


def _absolute(before: Sequence[float], after: Sequence[float]) -> bool | None:
    """Whether differences are compared rather than ratios; None where neither says anything."""
    least = min(min(before), min(after))
    if least > 0.0:
        return False
    return True if least == 0.0 and max(max(before), max(after)) <= 1.0 else None


def _scaled(values: Sequence[float], absolute: bool | None) -> list[float]:
    return list(values) if absolute else [math.log(value) for value in values]


def outlying(*sides: Sequence[float], deviations: float = OUTLYING) -> float:
    """How far from its side's median a value is an outlier; infinite where most values are the same."""
    distances = [abs(x - middle) for side in sides for middle in [_core.median(list(side))] for x in side]
    n = len(distances)
    # 1.4826: the normal distribution's deviation over its median absolute one; a median was fitted to each side.
    deviation = 1.4826 * 1.05 * math.sqrt(n / (n - len(sides))) * _core.median(distances)
    return deviations * deviation if deviation > 0.0 else math.inf


def drawn_in(values: Sequence[float], limit: float) -> Mean:
    """A side whose outliers are drawn in to ``limit`` from its median; ``n`` is the number that were not."""
    middle = _core.median(list(values))
    drawn = [min(max(x, middle - limit), middle + limit) for x in values]
    left = max(2, sum(abs(x - middle) <= limit for x in values))
    n, mean, stdev = _core.moments(drawn)
    return Mean(left, mean, (n - 1) * stdev**2 / (left * (left - 1)))
