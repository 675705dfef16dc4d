"""Past runs and an earlier result on the page of a result."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import results_made
import runs_made
from perfsuite._core import Histogram
from perfsuite.analysis.trends import trends
from perfsuite.api import compare
from perfsuite.charts.before_and_after import before_and_after
from perfsuite.charts.past import trend_chart
from perfsuite.history.past import past_of
from perfsuite.history.store import History
from perfsuite.reports.beside import MOST_TRENDS, Beside
from perfsuite.reports.changes import rows
from perfsuite.reports.html import render
from perfsuite.result import MetricResult, PhaseResult, encode_histogram

LEVELS = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1, 100.0, 99.9]


def recorded(tmp_path: Path, values: list[float]) -> History:
    history = History(str(tmp_path / "history.db"))
    for number, value in enumerate(values):
        assert history.record(runs_made.result(number, value))
    return history


def test_a_result_is_the_last_of_the_runs_before_it(tmp_path: Path) -> None:
    with recorded(tmp_path, [*LEVELS, 500.0, 600.0]) as history:
        found = past_of(history, runs_made.result(10, 100.3))
    median = next(one for one in found if one.figure.key == "load.response_time.p50")
    assert median.values == (*LEVELS, 100.3)
    assert len(median.started) == 11
    assert not median.suspicious


def test_a_first_run_and_one_of_another_machine_have_no_past(tmp_path: Path) -> None:
    with History(str(tmp_path / "none.db")) as history:
        assert past_of(history, runs_made.result(0, 100.0)) == []
        assert not history.exists
    with recorded(tmp_path, LEVELS) as history:
        assert past_of(history, runs_made.result(10, 100.0, cpu="Another CPU")) == []


def test_a_step_is_marked_at_its_run_and_a_steady_course_has_none(tmp_path: Path) -> None:
    with recorded(tmp_path, [*LEVELS, *(2 * value for value in LEVELS)]) as history:
        found = past_of(history, runs_made.result(20, 200.0))
    by_key = {one.figure.key: one for one in found}
    stepped = trend_chart(by_key["load.response_time.p50"])
    (across,) = [r.data_source.data for r in stepped.figure.renderers if type(r.glyph).__name__ == "VSpan"]
    assert list(across["x"]) == [11.0]
    assert any("changes of level" in note for note in stepped.notes)
    assert len(stepped.rows) == 21
    steady = trend_chart(by_key["load.memory_usage.max"])
    assert not [r for r in steady.figure.renderers if type(r.glyph).__name__ == "VSpan"]


def test_the_page_has_the_past_and_the_comparison() -> None:
    runs = [runs_made.result(number, value) for number, value in enumerate(LEVELS)]
    after = runs_made.result(20, 150.0)
    judged = compare(runs[0], after)
    past = trends(runs_made.runs([*LEVELS, 150.0]))
    page = render(after, Beside(trends=past, before=runs[0], judgements=judged))
    text = re.sub(r"<script.*?</script>|<[^>]*>", " ", page, flags=re.S)
    assert "Against an earlier run" in text
    assert "Run run-0 of reference" in " ".join(text.split())
    for cells in rows(judged[0]):
        assert all(cell in text for cell in cells[1:3])
    assert "Past runs" in text
    assert f"load: response_time p50 over {len(runs) + 1} runs" in text
    assert page.count("data-chart=") == min(MOST_TRENDS, len(past))


def test_a_page_without_them_says_nothing_of_them() -> None:
    page = render(results_made.full())
    assert "Against an earlier run" not in page
    assert "Past runs" not in page


def phase_of(values: list[float], unit: str = "ms") -> PhaseResult:
    histogram = Histogram(10)
    histogram.record_many(values)
    metric = MetricResult(name="ttft", unit=unit, kind="histogram", histogram=encode_histogram(histogram))
    return PhaseResult(name="load", verdict="passed", metrics=[metric])


def test_two_distributions_lie_over_one_another() -> None:
    (chart,) = before_and_after(phase_of([10.0, 20.0]), phase_of([30.0, 40.0]))
    assert list(chart.sources) == ["before", "after"]
    assert chart.rows[0] == ["0 %", 10.0, 30.0]


@pytest.mark.parametrize(
    "before", [phase_of([]), phase_of([1.0], unit="tokens"), PhaseResult(name="load", verdict="passed")]
)
def test_what_one_side_does_not_have_is_not_compared(before: PhaseResult) -> None:
    assert list(before_and_after(before, phase_of([30.0]))) == []
