"""What a test measured, as a phase of a result: it goes with the test's report, from a worker to whoever started it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import phase_verdict
from perfsuite.metric import metric
from perfsuite.pytest_plugin import slo
from perfsuite.pytest_plugin.distribution import lines
from perfsuite.pytest_plugin.holding import HELD, NOTES, samples_of
from perfsuite.result import MetricResult, PhaseResult

if TYPE_CHECKING:
    import pytest

ATTRIBUTE = "perfsuite"
SECTION = "perfsuite: what was measured"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """Of one test: the phase, and what is to be said at the end of the run."""

    phase: PhaseResult
    notes: list[str] = msgspec.field(default_factory=list)


def phase_name(nodeid: str) -> str:
    """What a test is called among phases, whose names may be those of files."""
    return nodeid.replace("/", ".")


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Puts what the test measured into its report, as text; nothing where it measured nothing."""
    metrics = _metrics(item)
    notes = item.stash.get(NOTES, [])
    if not metrics and not notes:
        return
    unhandled = [_last_line(report)] if report.failed and all(one.verdict != "failed" for one in metrics) else []
    verdict, reason = phase_verdict(metrics, unhandled) if metrics else ("not measured", "; ".join(notes))
    phase = PhaseResult(
        name=phase_name(item.nodeid),
        verdict=verdict,
        title=item.nodeid,
        reason=reason,
        duration_s=report.duration,
        unhandled=unhandled,
        metrics=metrics,
    )
    undecided = [slo.said(one) for one in metrics if one.verdict == "undecided"]
    setattr(report, ATTRIBUTE, msgspec.json.encode(Recorded(phase=phase, notes=undecided + notes)).decode())


def recorded(report: pytest.TestReport) -> Recorded | None:
    """What is attached to a report."""
    text = getattr(report, ATTRIBUTE, None)
    return None if text is None else msgspec.json.decode(text, type=Recorded)


def show(report: pytest.TestReport, found: Recorded, width: int, encoding: str) -> None:
    """Has a failure show what was measured."""
    measured = next((one for one in found.phase.metrics if one.name == slo.METRIC), None)
    histogram = None if measured is None else measured.distribution()
    if histogram is not None:
        limits = [one.target for one in found.phase.metrics if one.name == slo.METRIC and one.target is not None]
        report.sections.append((SECTION, "\n".join(lines(histogram, width, encoding=encoding, limits=limits))))


def _metrics(item: pytest.Item) -> list[MetricResult]:
    """Each figure once, the last judgement of it."""
    funcargs: Mapping[str, Any] = getattr(item, "funcargs", {})
    judged: list[MetricResult] = [
        *getattr(funcargs.get("perf"), "judged", ()),
        *item.stash.get(HELD, ()),
        *getattr(funcargs.get("leak_check"), "judged", ()),
    ]
    samples = samples_of(funcargs)
    if samples is not None and all(one.name != slo.METRIC for one in judged):
        judged.insert(0, summarise(metric(slo.METRIC), samples))
    return list({(one.name, one.stat): one for one in judged}.values())


def _last_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or report.longreprtext or "it failed"
    return str(text).splitlines()[0]
