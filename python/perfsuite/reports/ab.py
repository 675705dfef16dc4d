"""Two versions in turns: what is said of the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfsuite.reports import changes

if TYPE_CHECKING:
    from perfsuite.suites.ab import AbReport


def title_of(report: AbReport) -> str:
    """What the comparison is called."""
    return f"{report.head.name} against {report.base.name}: {report.verdict}"


def introduction(report: AbReport) -> list[str]:
    """What the summary says first."""
    here = report.environment
    done = [run.side for run in report.runs if run.error is None]
    runs = f"{done.count('base')} and {done.count('head')} runs in turns, each a fresh process"
    text = f"{runs}, on {here.host} ({here.cpu}, {here.cores} cores, {here.python})."
    return [text, *(["It was interrupted: fewer runs than asked for."] if report.interrupted else []), *report.notes]


def markdown(report: AbReport) -> str:
    """The summary for a pull request."""
    return changes.markdown(title_of(report), report.judgements, introduction(report))
