"""Criteria as a test writes them, ``p99_ms=50``, and samples held against them by the statistics of a run's verdict."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from perfsuite.analysis.feasibility import TIMES
from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import judge
from perfsuite.errors import Mistakes, UsageError, shown, unknown
from perfsuite.evidence import Samples
from perfsuite.metric import labelled, metric
from perfsuite.plan import Criterion
from perfsuite.reports.figures import row_of
from perfsuite.result import MetricResult
from perfsuite.statistic import USUAL, statistic

METRIC = "response_time"
"""What a test's samples are called in files, where every report and comparison knows it."""
UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
_NAME = re.compile(r"(mean|min|max|p\d+)_(ns|us|ms|s)")


class SloMissed(AssertionError):
    """A criterion is missed by the whole interval; or, where that was asked for, undecided."""


def read(limits: Mapping[str, object], where: str) -> list[Criterion]:
    """The criteria of ``STAT_UNIT=limit`` arguments; the value is to be below the limit.

    Raises UsageError that names every wrong key and value.
    """
    mistakes = Mistakes()
    found = []
    for name, limit in limits.items():
        with mistakes.noted():
            found.append(_criterion(name, limit, where))
    if not limits:
        mistakes.add(f"{where}: no criterion; write {where}(p99_ms=50)")
    mistakes.check()
    return found


def hold(samples: Samples, criteria: Sequence[Criterion]) -> list[MetricResult]:
    """The samples against each criterion; the reason of an undecided one says how many samples would decide it."""
    return [_with_count(judge(summarise(metric(METRIC), samples, one.stat), one)) for one in criteria]


def missed(found: Sequence[MetricResult], *, undecided_fails: bool) -> str:
    """What fails a test, a line each: what failed, and what is undecided where that is to fail; empty for nothing."""
    bad = [one for one in found if one.verdict == "failed" or (undecided_fails and one.verdict != "passed")]
    return "\n".join(map(said, bad))


def said(found: MetricResult) -> str:
    """``p99 62.1 ms [55.3–70.2] < 50 ms: failed (300 samples)``."""
    row = row_of(found)
    name = row.name.removeprefix(labelled(METRIC, "").rstrip()).strip()
    parts = [part for part in (name, row.value or "–", row.interval, row.target.partition(" (")[0]) if part]
    return f"{' '.join(parts)}: {row.verdict} ({found.samples:,} sample{'s' if found.samples != 1 else ''})"


def _criterion(name: str, limit: object, where: str) -> Criterion:
    match = _NAME.fullmatch(name)
    stat = statistic(match[1]) if match is not None else None
    if match is None or stat is None:
        raise unknown("criterion", name, [f"{stat}_ms" for stat in USUAL], where)
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise UsageError(f"{where}: {name}={shown(limit)} is no number; write {name}=50")
    if not (limit > 0 and math.isfinite(limit)):
        raise UsageError(f"{where}: {name}={shown(limit)} is no limit; write a number greater than 0")
    return Criterion(
        metric=METRIC,
        stat=stat,
        comparison="<",
        target=limit * UNITS[match[2]],
        critical=True,
        required=False,
        origin=where,
    )


def _with_count(found: MetricResult) -> MetricResult:
    times = found.reason.removeprefix("run ").removesuffix(TIMES)
    if found.verdict != "undecided" or len(found.reason) - len(times) != len("run ") + len(TIMES):
        return found
    needed = math.ceil(found.samples * float(times))
    return msgspec.structs.replace(found, reason=f"take {needed:,} samples or more")
