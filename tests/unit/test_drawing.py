"""What is written without Bokeh is what Bokeh's own plotting interface makes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import BasicTickFormatter, ColumnDataSource, FixedTicker, HoverTool, Span
from bokeh.plotting import figure as plotting
from bokeh.resources import Resources

from perfsuite import drawing
from perfsuite.drawing import DASHES, GREY, OKABE_ITO, Drawn, document, embedded, figure, library

PLAIN = Drawn(
    lines=[("one", [0.0, 1.0, 2.5], [3.0, math.nan, 5.0]), ("two", [0.0, 2.0], [1e-9, 0.25])],
    x_label="seconds",
    y_label="ms",
    tip=("t", "$x{0,0.0} s"),
    marks=[0.5, 2.0],
)
LOGARITHMIC = Drawn(
    lines=[("spread", [1.0, 2.0, 100.0], [1.0, 2.0, 3.0])],
    x_label="share",
    y_label="s",
    tip=("1 in", "$x{0,0}"),
    ticks=[(1.0, "0 %"), (2.0, "50 %")],
)


def by_bokeh(chart: Drawn) -> Model:
    """The same chart by bokeh.plotting."""
    plot = plotting(
        height=260, sizing_mode="stretch_width", x_axis_label=chart.x_label, y_axis_label=chart.y_label,
        x_axis_type="log" if chart.ticks else "linear", tools="xpan,xbox_zoom,xwheel_zoom,reset,save",
        background_fill_alpha=0.0, border_fill_alpha=0.0, outline_line_color=GREY,
    )  # fmt: skip
    plot.toolbar.logo = None
    plot.toolbar.active_scroll = None
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_color = axis.major_label_text_color = GREY
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = GREY
        axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.2
    for i, (name, x, y) in enumerate(chart.lines):
        drawn = plot.line(x, y, color=OKABE_ITO[i], line_dash=DASHES[i], line_width=1.6, legend_label=name)
        drawn.nonselection_glyph = drawn.muted_glyph = "auto"  # nothing is selected here, or muted
    plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    if chart.ticks:
        plot.xaxis.ticker = FixedTicker(ticks=[at for at, _ in chart.ticks])
        plot.xaxis.major_label_overrides = dict(chart.ticks)
        plot.xaxis[0].formatter.ticker = None
    plot.add_tools(HoverTool(tooltips=[chart.tip, (chart.y_label, "$y{0,0.00}")]))
    for at in chart.marks:
        plot.add_layout(Span(location=at, dimension="height", line_color=GREY, line_dash="dotted", line_alpha=0.6))
    for legend in plot.legend:
        legend.background_fill_alpha = legend.border_line_alpha = 0.0
        legend.label_text_color = GREY
        legend.click_policy = "hide"
        legend.ncols = min(len(chart.lines), 4)
        plot.add_layout(legend, "above")
    return plot


def told(value: Any, seen: dict[str, int] | None = None) -> Any:
    """A model and all that it holds as plain values, defaults too; its ids as the order in which they come."""
    seen = {} if seen is None else seen
    if isinstance(value, Model):
        if value.id in seen:
            return seen[value.id]
        seen[value.id] = len(seen)
        held = value.properties_with_values()  # less what only a browser sets
        return {"kind": type(value).__name__, **{name: told(held[name], seen) for name in sorted(held)}}
    if isinstance(value, dict):
        return {key: told(one, seen) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [told(one, seen) for one in value]
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return value if isinstance(value, str | int | float | type(None)) else repr(value)


@pytest.mark.parametrize("chart", [PLAIN, LOGARITHMIC], ids=["plain", "logarithmic"])
def test_it_is_what_bokeh_would_have_made(chart: Drawn) -> None:
    ours, theirs = told(figure(chart)), told(by_bokeh(chart))
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == theirs[name], name


def test_the_comparison_sees_a_difference() -> None:
    other = by_bokeh(PLAIN)
    other.toolbar.tools[0].dimensions = "both"
    assert told(figure(PLAIN)) != told(other)


def test_bokeh_reads_the_whole_document() -> None:
    read = Document.from_json(json.loads(json.dumps(document([PLAIN, LOGARITHMIC]))))
    assert [type(root).__name__ for root in read.roots] == ["figure", "figure"]
    sources = list(read.select({"type": ColumnDataSource}))
    assert len(sources) == 3
    assert all(len(source.data["x"]) == len(source.data["y"]) for source in sources)


def test_numbers_keep_what_can_be_seen() -> None:
    (entry,) = document([LOGARITHMIC])["roots"][0]["attributes"]["renderers"]
    entries = dict(entry["attributes"]["data_source"]["attributes"]["data"]["entries"])
    assert entries["x"] == [1.0, 2.0, 100.0]
    assert drawing._numbers([1.0 / 3.0, -math.inf, math.inf, math.nan, 123456789.0]) == [
        0.333333333333,
        {"type": "number", "value": "-inf"},
        {"type": "number", "value": "+inf"},
        {"type": "number", "value": "nan"},
        123456789.0,
    ]


def test_the_script_holds_no_markup_and_names_every_element() -> None:
    bad = "</script><script>alert(1)</script><!--"
    script, elements = embedded([Drawn([(bad, [0.0], [0.0])], bad, bad, (bad, bad)), PLAIN])
    assert script.count("<") == 2  # its own tags
    assert len(elements) == 2
    for element in elements:
        found = re.search(r'id="([^"]+)" data-root-id="([^"]+)"', element)
        assert found is not None
        assert f'"{found[2]}": "{found[1]}"' in script


def test_the_library_is_bokehs_own_and_asks_for_nothing() -> None:
    text = library()
    (theirs, _) = Resources(mode="inline", components=["bokeh"], log_level="error").js_raw
    assert len(text) == pytest.approx(len(theirs), rel=0.001)
    assert "https://cdn.jsdelivr.net/npm/mathjax" not in text


def test_bokeh_is_not_imported_for_a_page() -> None:
    code = (
        "import sys; from perfsuite.reports.html import render; sys.path.insert(0, 'tests'); import results_made\n"
        "page = render(results_made.full()); assert 'Bokeh.embed.embed_items' in page\n"
        "print(sorted({'bokeh', 'numpy', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
