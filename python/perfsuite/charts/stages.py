"""Where the mean answer's time went, phase by phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from perfsuite.charts.bars import bar_chart
from perfsuite.charts.chart import Chart

if TYPE_CHECKING:
    from perfsuite.analysis.bottlenecks import Stages


def stages_by_phase(taken: Sequence[Stages]) -> Iterator[Chart]:
    """A group of bars for each phase."""
    if taken:
        series = {
            "waiting": [one.waiting for one in taken],
            "first token": [one.first_token for one in taken],
            "generation": [one.generation for one in taken],
        }
        names = [one.phase for one in taken]
        yield bar_chart("Where the mean answer's time went", names, series, "ms", x_label="phase")
