"""The files that a result is written as: how each is named, and what renders it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from perfsuite.result import Result


class Format(NamedTuple):
    """One file of a result: ``pattern`` is its name with ``{}`` for the run's stem, ``YYYYMMDD_HHMMSS``."""

    pattern: str
    render: Callable[[Result], bytes]

    def path(self, folder: Path, stem: str) -> Path:
        """The file of a run."""
        return folder / self.pattern.format(stem)


def _json(result: Result) -> bytes:
    from perfsuite.result import dump

    return dump(result)


def _markdown(result: Result) -> bytes:
    from perfsuite.reports.markdown import render

    return render(result).encode("utf-8", "replace")


def _html(result: Result) -> bytes:
    from perfsuite.reports.html import render

    return render(result).encode("utf-8", "replace")


RESULTS = Format("results-{}.json", _json)
PARTIAL = Format("results-{}.partial.json", _json)
"""What a run leaves while it lasts."""

MEMORY = {
    "latency": Format("latency_tier_latency_{}.json", _json),
    "throughput": Format("throughput_concurrent_throughput_{}.json", _json),
    "footprint": Format("footprint_memory_footprint_{}.json", _json),
}
"""The benchmarks of the memory suite, each with the file that its document names."""
SUITE = Format("suite_full_suite_{}.json", _json)
"""Several of them together."""

REPORTS = {"md": Format("report-{}.md", _markdown), "html": Format("metrics-{}.html", _html)}
"""What is made of a result, by the name that ``perfsuite report --format`` takes, in the order of ``Paths``."""


def results_of(names: Sequence[str]) -> Format:
    """The file of a result that has these phases: of the memory suite's alone its own, else RESULTS."""
    if not names or not set(names) <= set(MEMORY):
        return RESULTS
    return MEMORY[names[0]] if len(names) == 1 else SUITE


def stem_of(path: Path) -> str:
    """What names the run in the name of its result file; of any other file its name without ``.json``."""
    return path.name.removesuffix(".json").removesuffix(".partial").removeprefix("results-")
