"""metrics-TS.html in a real browser: no complaint, nothing that axe finds, ink in every chart, the JSON's figures."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import results_made
import runs_made
from browsing import PATIENCE_MS, NewPage, Visit, axe
from perfsuite._core import Events, Histogram
from perfsuite.analysis.summary import summarise
from perfsuite.analysis.trends import trends
from perfsuite.api import compare
from perfsuite.evidence import Samples
from perfsuite.metric import metric
from perfsuite.reports.beside import Beside
from perfsuite.reports.html import render
from perfsuite.result import PhaseResult, Resource, Result, dump
from perfsuite.units import scale

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

GONE = PhaseResult(
    name="load", verdict="failed", reason="the target was gone at once", unhandled=["connection refused"]
)


def measured() -> Result:
    """A run whose response times were counted by the engine's own events."""
    second = 10**9
    events = Events(10, 0, 5000.0, None, 64, False, 0)
    for i in range(400):
        row = events.begin(i * second // 40)
        row.sent(i * second // 40)
        row.end(0, at_ns=i * second // 40 + (20 + i % 50) * 10**6)
    evidence = Samples(
        histogram=events.histogram("response_time"),
        blocks=events.blocks("response_time"),
        block_times=events.block_times("response_time"),
    )
    result = results_made.full()
    load = result.phases[0]
    response = summarise(metric("response_time"), evidence)
    return msgspec.structs.replace(
        result, phases=[msgspec.structs.replace(load, metrics=[response, *load.metrics[1:]]), *result.phases[1:]]
    )


RESULTS = {
    "full": results_made.full,
    "measured": measured,
    "searched": results_made.searched,
    "empty": results_made.empty,
    "gone": lambda: msgspec.structs.replace(results_made.empty(), phases=[GONE]),
}


def opened(
    new_page: NewPage, tmp_path: Path, result: Result, *, dark: bool = False, besides: Beside | None = None
) -> Visit:
    """The page of a result, with every chart drawn."""
    path = tmp_path / "metrics.html"
    path.write_text(render(result, besides), encoding="utf-8")
    visit = new_page(dark=dark, viewport={"width": 1000, "height": 800})
    visit.page.goto(path.as_uri())
    if visit.page.locator("[data-chart]").count():
        visit.page.wait_for_selector("html[data-charts=drawn]")
    return visit


def beside() -> Beside:
    """Past runs with a step among them, and an earlier run."""
    values = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1, 100.0, 99.9]
    past = trends(runs_made.runs([*values, *(2 * value for value in values)]))
    before, after = (runs_made.result(number, value) for number, value in ((0, 100.0), (1, 200.0)))
    return Beside(trends=past, before=before, judgements=compare(before, after))


def pixels(place: Locator) -> Counter[tuple[int, int, int]]:
    """The colours of what is to be seen of an element, with how many pixels have each."""
    from PIL import Image

    image = Image.open(io.BytesIO(place.screenshot())).convert("RGB")
    found = image.getcolors(image.width * image.height)
    return Counter({colour: number for number, colour in found or ()})


X_RANGES = "Bokeh.documents.flatMap(doc => doc.roots()).map(plot => [plot.x_range.start, plot.x_range.end])"


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Waits for what the page does in its own time."""
    deadline = time.monotonic() + PATIENCE_MS / 1e3
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        page.wait_for_timeout(100)


def open_all(page: Page) -> None:
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", RESULTS)
def test_nobody_complains_of_a_page(new_page: NewPage, tmp_path: Path, name: str, dark: bool) -> None:
    visit = opened(new_page, tmp_path, RESULTS[name](), dark=dark)
    open_all(visit.page)
    assert visit.complaints == []
    assert axe(visit.page) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nobody_complains_of_past_runs_and_a_comparison(new_page: NewPage, tmp_path: Path, dark: bool) -> None:
    visit = opened(new_page, tmp_path, runs_made.result(20, 200.0), dark=dark, besides=beside())
    assert visit.page.locator("figure", has_text="over 20 runs, stepped").count() > 0
    open_all(visit.page)
    assert visit.complaints == []
    assert axe(visit.page) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_chart_has_ink_on_a_page_of_the_asked_colour(new_page: NewPage, tmp_path: Path, dark: bool) -> None:
    page = opened(new_page, tmp_path, measured(), dark=dark).page
    places = page.locator("[data-chart]").all()
    assert len(places) == 7
    assert any(str(place.get_attribute("aria-label")).startswith("Heat map") for place in places)
    for place in places:
        seen = pixels(place)
        ((ground, _),) = seen.most_common(1)
        assert ground == ((0x16,) * 3 if dark else (0xF6,) * 3)
        ink = (n for c, n in seen.items() if max(abs(a - b) for a, b in zip(c, ground, strict=True)) > 90)
        assert sum(ink) > 300


def test_a_page_without_its_data_would_have_no_ink(new_page: NewPage, tmp_path: Path) -> None:
    path = tmp_path / "bare.html"
    path.write_text(re.sub(r"<script.*?</script>", "", render(results_made.full()), flags=re.S), encoding="utf-8")
    page = new_page(viewport={"width": 1000, "height": 800}).page
    page.goto(path.as_uri())
    assert set(pixels(page.locator("[data-chart]").first)) == {(0xF6,) * 3}


def rows_of(page: Page, caption: str) -> list[list[str]]:
    figure = page.locator("figure", has=page.locator("figcaption", has_text=re.compile(f"^{re.escape(caption)}$")))
    found: list[list[str]] = figure.locator("table.figures tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def number(text: str) -> float:
    return float(text.replace(",", ""))


def test_the_tables_say_what_the_json_says(new_page: NewPage, tmp_path: Path) -> None:
    result = results_made.full()
    page = opened(new_page, tmp_path, result).page
    load: dict[str, Any] = json.loads(dump(result))["phases"][0]
    rss = load["resources"]["rss"]["series"]
    divisor, _ = scale(max(v for _, v in rss), "bytes")
    by_time = {t: v / divisor for t, v in rss}
    shown = rows_of(page, "Resources: rss")
    assert len(shown) >= 20
    for t, value in shown:
        assert number(value) == pytest.approx(by_time[number(t)], rel=1e-4)
    counts = rows_of(page, "Requests and errors by second")
    assert [[number(cell) for cell in row] for row in counts] == [
        [float(v) for v in row]
        for row in zip(*(load["windows"][c] for c in ("t_s", "due", "ok", "failed")), strict=True)
    ]


def test_the_knee_s_tables_say_what_the_json_says(new_page: NewPage, tmp_path: Path) -> None:
    result = results_made.searched()
    visit = opened(new_page, tmp_path, result)
    levels = json.loads(dump(result))["phases"][0]["metrics"][0]["details"]["levels"]
    for caption, column, divisor in (
        ("Throughput by the rate that was asked for", "delivered", 1.0),
        ("Response time p95 by the rate that was asked for", "p95_ms", 1000.0),
    ):
        shown = rows_of(visit.page, caption)
        assert [number(row[0]) for row in shown] == [level["rate"] for level in levels]
        for row, level in zip(shown, levels, strict=True):
            assert row[4] == level["verdict"]
            known = level[column]
            assert row[1] == "–" if known is None else number(row[1]) == pytest.approx(known / divisor, rel=1e-4)
    assert visit.page.locator("text=Shaded: where it surely lies, 28.3–40.").count() == 2


def test_distributions_say_what_the_json_s_histograms_say(new_page: NewPage, tmp_path: Path) -> None:
    result = measured()
    page = opened(new_page, tmp_path, result).page
    response = json.loads(dump(result))["phases"][0]["metrics"][0]
    histogram = Histogram.from_bytes(base64.b64decode(response["histogram"]))
    shown = rows_of(page, "Distribution of response_time")
    assert len(shown) > 5
    for share, value in shown:
        assert number(value) == pytest.approx(histogram.quantile(float(share.removesuffix(" %")) / 100.0), rel=1e-4)
    slices = response["slices"]
    assert [number(row[1]) for row in heat_rows(page)] == [float(sum(row)) for row in slices["counts"]]


def heat_rows(page: Page) -> list[list[str]]:
    figure = page.locator("figure", has=page.locator("[aria-label^='Heat map: response_time']"))
    found: list[list[str]] = figure.locator("table.figures tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def test_no_name_is_broken_in_its_middle(new_page: NewPage, tmp_path: Path) -> None:
    full = Resource(unit="%", series=[(float(t), 100.0) for t in range(9)])
    phase = PhaseResult(name="baseline", verdict="passed", resources={"process.cpu_percent": full})
    result = msgspec.structs.replace(results_made.full(), phases=[phase])
    page = opened(new_page, tmp_path, result).page
    cell = page.locator("td.name", has_text="process.cpu_percent").first
    lines = """cell => {
      const all = document.createRange()
      all.selectNodeContents(cell)
      return all.getClientRects().length
    }"""
    for width in (1000, 500, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert cell.evaluate(lines) == 1


def test_the_criteria_say_what_the_json_says(new_page: NewPage, tmp_path: Path) -> None:
    page = opened(new_page, tmp_path, results_made.full()).page
    cells: list[str] = page.locator("h2:text('Worst margins') + div tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent).join(' | '))"
    )
    assert cells[0].startswith("load: ttft p95 | > 60 s")
    assert any("load: response_time p95 | 2.1 s | [1.9–2.6] | not known | < 5 s" in row for row in cells)


def test_keys_move_and_reset_all_charts_over_time_together(new_page: NewPage, tmp_path: Path) -> None:
    page = opened(new_page, tmp_path, results_made.full()).page
    places = page.locator("[data-chart]").all()
    timed = ["Line chart" in str(place.get_attribute("aria-label")) for place in places]
    assert set(timed) == {True, False}
    look, ranges = places[0].screenshot(), page.evaluate(X_RANGES)
    places[0].focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    moved = page.evaluate(X_RANGES)
    assert [now != before for now, before in zip(moved, ranges, strict=True)] == timed
    for (low, high), (first, last), together in zip(moved, ranges, timed, strict=True):
        assert not together or (high - low < last - first and low + high > first + last)
    until(page, lambda: places[0].screenshot() != look)
    page.keyboard.press("0")
    assert page.evaluate(X_RANGES) == ranges
    page.keyboard.press("-")
    assert page.evaluate(X_RANGES) != ranges
    page.locator("[data-reset]").first.click()
    assert page.evaluate(X_RANGES) == ranges


def test_the_page_is_gone_through_by_tab(new_page: NewPage, tmp_path: Path) -> None:
    page = opened(new_page, tmp_path, results_made.full()).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the verdict"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    wanted = page.locator("[data-chart]").count()
    stops: set[str] = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        at = page.evaluate("document.activeElement?.dataset?.chart ?? ''")
        stops |= {at} if at else set()
        if len(stops) == wanted:
            break
    assert len(stops) == wanted


def test_a_page_that_turns_dark_repaints_its_charts(new_page: NewPage, tmp_path: Path) -> None:
    page = opened(new_page, tmp_path, results_made.full()).page
    place = page.locator("[data-chart]").first
    light = set(pixels(place))
    page.emulate_media(color_scheme="dark")
    assert (0x00, 0x60, 0xA8) in light
    until(page, lambda: {(0x16,) * 3, (0x56, 0xB4, 0xE9)} <= set(pixels(place)))
    assert (0x00, 0x60, 0xA8) not in set(pixels(place))


def test_on_paper_nothing_is_there_to_be_pressed(new_page: NewPage, tmp_path: Path) -> None:
    page = opened(new_page, tmp_path, results_made.full()).page
    page.emulate_media(media="print")
    assert not [button for button in page.locator("button, nav").all() if button.is_visible()]
    assert page.locator("[data-chart]").first.is_visible()
