"""A result shows itself, without scripts, whatever a server said."""

from __future__ import annotations

import results_made
from perfsuite.result import MetricResult, PhaseResult, Result


def test_a_result_shows_its_verdict_and_worst_figures() -> None:
    shown = results_made.full()._repr_html_()
    assert "<strong>FAILED</strong> reference" in shown
    assert shown.index("load: ttft p95") < shown.index("load: response_time p95")
    assert "[1.9–2.6]" in shown
    assert "Look at the 5 time-outs." in shown


def test_a_result_without_figures_says_so() -> None:
    shown = results_made.empty()._repr_html_()
    assert "Nothing was measured" in shown
    assert "<table>" not in shown


def test_what_a_server_said_is_text_in_a_notebook_too() -> None:
    bad = results_made.HOSTILE
    metric = MetricResult(
        name=bad, unit=bad, kind="gauge", value=1.0, target=2.0, comparison="<", verdict="failed", reason=bad
    )
    phase = PhaseResult(name=bad, verdict="failed", metrics=[metric])
    run = results_made.run(target=bad, error=bad)
    shown = Result(run=run, environment=results_made.environment(), phases=[phase])._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert "\x1b" not in shown


def test_plot_gives_a_layout_of_all_charts() -> None:
    figures = [child for child in results_made.full().plot().children if hasattr(child, "renderers")]
    assert len(figures) == 7
    assert len({id(figure.x_range) for figure in figures}) < len(figures)
