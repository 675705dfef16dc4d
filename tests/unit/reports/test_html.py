"""The page is one file, needs no network, and a server's words do nothing in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

import results_made
from perfsuite.charts import charts, layout
from perfsuite.reports.html import render
from perfsuite.result import Event, MetricResult, PhaseResult, Resource, Result, load

GOLDEN = Path(__file__).parents[2] / "golden"
EXTERNAL = re.compile(
    r"""(?:src|href|action|poster)\s*=\s*["']?\s*(?:https?:)?//|@import|url\(\s*["']?(?:https?:)?//"""
)


class Page(HTMLParser):
    """The elements of a page, the scripts' text apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return render(results_made.full())


def hostile() -> Result:
    """Every text of a result that a server or a plug-in may have written."""
    bad = results_made.HOSTILE + "</script><script>alert(1)</script>$$\\x$$"
    series = [(float(t), float(t)) for t in range(3)]
    metric = MetricResult(
        name=bad, unit=bad, kind="gauge", value=1.0, target=2.0, comparison="<", verdict="failed", reason=bad,
        series=series, details={bad: [bad, {bad: bad}]}, definition=bad,
    )  # fmt: skip
    phase = PhaseResult(
        name=bad, title=bad, verdict="failed", reason=bad, unhandled=[bad], metrics=[metric],
        events=[Event(t_s=1.0, text=bad)], requested={bad: bad}, resources={bad: Resource(unit=bad, series=series)},
    )  # fmt: skip
    run = results_made.run(target=bad, simulated=[bad], notes=[bad], error=bad, profile=bad, id=bad)
    here = msgspec.structs.replace(results_made.environment(), host=bad, packages={bad: bad})
    return Result(run=run, environment=here, phases=[phase])


def test_the_page_needs_no_network(page: str) -> None:
    assert EXTERNAL.findall(page) == []
    policy = [m["content"] or "" for m in Page(page).named("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy[0]
    assert "connect-src" not in policy[0]
    assert EXTERNAL.findall('<img src="https://x.test/a.png">')
    assert EXTERNAL.findall("<script src=//x.test/a.js>")


def test_the_page_is_well_formed_and_small(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    assert not any(attributes.get("src") for _, attributes in parsed.tags)
    assert len(page.encode()) < 1_500_000


def test_what_a_server_said_is_text() -> None:
    parsed = Page(render(hostile()))
    assert parsed.open == []
    # Bokeh's script and the one that draws: no third, and no handler on any element.
    assert len(parsed.named("script")) == len(Page(render(results_made.full())).named("script"))
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    assert any("<script>alert('x')</script>" in text for text in parsed.text)
    assert "\x1b" not in "".join(parsed.text)


def test_the_verdict_the_worst_margins_and_the_simulated_come_first(page: str) -> None:
    text = " ".join(" ".join(Page(page).text).split())
    places = [
        text.index(part) for part in ("FAILED", "Simulated:", "Worst margins", "load: ttft p95", "Causes and cures")
    ]
    assert places == sorted(places)
    assert "> 60 s" in text


def test_every_chart_has_a_label_and_a_table(page: str) -> None:
    drawn = charts(results_made.full().phases[0])
    parsed = Page(page)
    assert len(drawn) == 6
    labels = [a["aria-label"] for a in parsed.named("div") if a.get("role") == "img"]
    assert labels == [chart.label for chart in drawn]
    assert len(parsed.named("figure")) == 6
    for chart in drawn:
        assert chart.rows
        assert all(len(row) == len(chart.header) for row in chart.rows)


def test_a_run_with_nothing_measured_says_so() -> None:
    page = render(results_made.empty())
    assert "Nothing was measured" in page
    assert "<script" not in page


def test_a_long_series_is_thinned_and_keeps_its_peak() -> None:
    series = [(float(t), 5000.0 if t == 77_777 else 1.0) for t in range(100_000)]
    phase = PhaseResult(name="p", verdict="passed", resources={"x": Resource(unit="count", series=series)})
    (chart,) = charts(phase)
    (line,) = [r for r in chart.figure.renderers if hasattr(r, "glyph")]
    y = line.data_source.data["y"]
    assert len(y) <= 2000
    assert max(y) == 5000.0
    assert len(chart.rows) <= 40


def test_a_notebook_gets_all_charts_in_one_layout() -> None:
    figures = [child for child in layout(results_made.full()).children if hasattr(child, "renderers")]
    assert len(figures) == 6
    assert [child.text for child in layout(results_made.empty()).children] == ["Nothing was measured."]


def test_a_store_that_grows_is_drawn_and_what_is_no_scale_is_not() -> None:
    def drawn(scales: object) -> list[str]:
        metric = MetricResult(name="m", unit="bytes", kind="gauge", details={"scales": scales})
        return [chart.title for chart in charts(PhaseResult(name="p", verdict="passed", metrics=[metric]))]

    rows = [{"memories": n, "memory_bytes": 10 * n, "disk_bytes": 5 * n} for n in (200, 100)]
    assert drawn(rows) == ["Bytes as the store grows"]
    for other in (rows[:1], "text", [1, 2], [{"memories": "x"}, {"memories": [2]}], None):
        assert drawn(other) == []


def test_a_phase_without_series_has_no_chart() -> None:
    assert (
        charts(PhaseResult(name="p", verdict="passed", metrics=[MetricResult(name="m", unit="ms", kind="gauge")])) == []
    )


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("result-v1-*.json")), ids=lambda path: path.stem)
def test_golden_results_are_rendered(path: Path) -> None:
    assert Page(render(load(path))).open == []
