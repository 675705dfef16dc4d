"""The page is one file, needs no network, and a server's words do nothing in it."""

from __future__ import annotations

import base64
import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

import results_made
from perfsuite.charts import charts
from perfsuite.charts.embed import MATHJAX, bokeh
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
    data = sum(map(len, re.findall(r'<script type="text/plain" id="charts".*?</script>', page, flags=re.S)))
    assert 0 < data < len(page)
    assert len(page.encode()) - data < 700_000


def test_bokeh_is_in_the_page_whole(page: str) -> None:
    (packed,) = re.findall(r'<script type="text/plain" id="bokeh">(.*?)</script>', page, flags=re.S)
    assert gzip.decompress(base64.b64decode(packed)).decode() == "\n".join(bokeh())
    assert MATHJAX not in "".join(bokeh())


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
    assert len(drawn) == 7
    places = [a for a in parsed.named("div") if "data-chart" in a]
    assert [a["aria-label"] for a in places] == [chart.label for chart in drawn]
    assert [a["tabindex"] for a in places] == ["0"] * 7
    assert len({a["data-chart"] for a in places}) == 7
    assert len(parsed.named("figure")) == 7
    for chart in drawn:
        assert chart.rows
        assert all(len(row) == len(chart.header) for row in chart.rows)


def test_a_run_with_nothing_measured_says_so() -> None:
    page = render(results_made.empty())
    assert "Nothing was measured" in page
    assert "<script" not in page


def test_a_phase_with_nothing_to_draw_says_so() -> None:
    phase = PhaseResult(name="p", verdict="not measured", reason="the target was gone at once")
    text = " ".join(" ".join(Page(render(msgspec.structs.replace(results_made.empty(), phases=[phase]))).text).split())
    assert "there is no chart to draw" in text
    assert "the target was gone at once" in text


def long_run(hours: int) -> Result:
    """A run of so many hours, sampled every second by everything that samples."""
    seconds = hours * 3600
    wave = [(float(t), 100.0 + t % 97) for t in range(seconds)]
    wave[seconds // 2] = (seconds / 2, 9e5)
    metrics = [
        MetricResult(name=f"m{i}", unit="ms", kind="gauge", value=1.0, target=2.0, comparison="<", series=wave)
        for i in range(4)
    ]
    columns: dict[str, list[int | float | None]] = {
        "t_s": [float(t) for t in range(seconds)], "due": [10] * seconds, "ok": [9] * seconds,
        "failed": [t % 2 for t in range(seconds)], "warmup": [1] + [0] * (seconds - 1),
    }  # fmt: skip
    phase = PhaseResult(
        name="long", verdict="passed", duration_s=float(seconds), metrics=metrics, windows=columns,
        resources={f"r{i}": Resource(unit="bytes", series=wave) for i in range(6)},
        events=[Event(t_s=float(t), text=f"event {t}") for t in range(0, seconds, 60)],
    )  # fmt: skip
    return Result(run=results_made.run(), environment=results_made.environment(), phases=[phase])


def test_a_run_of_hours_gives_a_page_of_the_same_size_with_its_extremes() -> None:
    short, long = (render(long_run(hours)) for hours in (1, 4))
    assert len(long.encode()) < 1_500_000
    assert len(long.encode()) - len(short.encode()) < 30_000
    drawn = charts(long_run(4).phases[0])
    assert all(len(source.data["x"]) <= 1000 for chart in drawn for source in chart.sources.values())
    (wave, *_), _ = (chart.sources.values() for chart in drawn if "r0" in chart.sources or "r5" in chart.sources)
    assert max(wave.data["y"]) == max(y for _, y in long_run(4).phases[0].resources["r0"].series) / 2**10


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("result-v1-*.json")), ids=lambda path: path.stem)
def test_golden_results_are_rendered(path: Path) -> None:
    assert Page(render(load(path))).open == []
