"""The files that results, comparisons and reports of ``ab`` are written as: how each is named, and what renders it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from perfsuite.exports.names import DOCUMENTED

if TYPE_CHECKING:
    from perfsuite.reports.beside import Beside
    from perfsuite.result import Result
    from perfsuite.suites.ab import AbReport
    from perfsuite.suites.memory.comparison_result import Comparison

What = TypeVar("What")


class Format(NamedTuple, Generic[What]):
    """One file of what was measured: ``pattern`` is its name with ``{}`` for the run's stem, ``YYYYMMDD_HHMMSS``."""

    pattern: str
    render: Callable[[What], bytes]

    def path(self, folder: Path, stem: str) -> Path:
        """The file of a run."""
        return folder / self.pattern.format(stem)


def _json(result: Result) -> bytes:
    from perfsuite.result import dump

    return dump(result)


def _markdown(result: Result) -> bytes:
    from perfsuite.reports.markdown import render

    return render(result).encode("utf-8", "replace")


def _html(result: Result, beside: Beside | None = None) -> bytes:
    from perfsuite.reports.html import render

    return render(result, beside).encode("utf-8", "replace")


def _table(result: Result, *, form: str, what: str) -> bytes:
    from perfsuite.exports import tables

    return tables.csv(result, what) if form == "csv" else tables.parquet(result, what)


def _junit(result: Result) -> bytes:
    from perfsuite.reports.junit import of_result

    return of_result(result, strict=bool(result.run.plan.get("strict")))


def _prometheus(result: Result) -> bytes:
    from perfsuite.exports.prometheus import exposition

    return exposition(result)


def _comparison(comparison: Comparison) -> bytes:
    from perfsuite.suites.memory.comparison_result import dump

    return dump(comparison)


def _comparison_markdown(comparison: Comparison) -> bytes:
    from perfsuite.reports.systems.markdown import markdown

    return markdown(comparison).encode("utf-8", "replace")


def _comparison_page(comparison: Comparison) -> bytes:
    from perfsuite.reports.systems.page import page

    return page(comparison).encode("utf-8", "replace")


def _ab(report: AbReport) -> bytes:
    from perfsuite.suites.ab import dump

    return dump(report)


def _ab_markdown(report: AbReport) -> bytes:
    from perfsuite.reports.ab import markdown

    return markdown(report).encode("utf-8", "replace")


RESULTS = Format("results-{}.json", _json)
PARTIAL = Format("results-{}.partial.json", _json)
"""What a run leaves while it lasts."""

MEMORY = {benchmark: Format(f"{name}_{{}}.json", _json) for benchmark, name in DOCUMENTED.items()}
"""The benchmarks of the memory suite, each with the file that its document names."""
SUITE = Format("suite_full_suite_{}.json", _json)
"""Several of them together."""

REPORTS = {"md": Format("report-{}.md", _markdown), "html": Format("metrics-{}.html", _html)}
"""What is made of a result, by the name that ``perfsuite report --format`` takes, in the order of ``Paths``."""


def reports_with(beside: Beside | None) -> dict[str, Format[Result]]:
    """REPORTS, of which the page has what is set beside the result too."""
    page = REPORTS["html"]
    return {**REPORTS, "html": page._replace(render=partial(_html, beside=beside))}


EXPORTS = {
    "csv": Format("metrics-{}.csv", partial(_table, form="csv", what="metrics")),
    "series-csv": Format("series-{}.csv", partial(_table, form="csv", what="series")),
    "parquet": Format("metrics-{}.parquet", partial(_table, form="parquet", what="metrics")),
    "series-parquet": Format("series-{}.parquet", partial(_table, form="parquet", what="series")),
    "junit": Format("junit-{}.xml", _junit),
    "prometheus": Format("metrics-{}.prom", _prometheus),
}
"""What ``perfsuite report`` makes of a result for other programs, only where it is asked for by that name."""

COMPARISON = {
    "json": Format("comparison_{}.json", _comparison),
    "md": Format("comparison_{}.md", _comparison_markdown),
    "html": Format("comparison_{}.html", _comparison_page),
}
"""Memory systems side by side."""
AB = {"json": Format("ab-{}.json", _ab), "md": Format("ab-{}.md", _ab_markdown)}
"""Two versions in turns."""


def results_of(names: Sequence[str]) -> Format[Result]:
    """The file of a result that has these phases: of the memory suite's alone its own, else RESULTS."""
    if not names or not set(names) <= set(MEMORY):
        return RESULTS
    return MEMORY[names[0]] if len(names) == 1 else SUITE


def stem_of(path: Path) -> str:
    """What names the run in the name of its result file; of any other file its name without ``.json``."""
    return path.name.removesuffix(".json").removesuffix(".partial").removeprefix("results-")
