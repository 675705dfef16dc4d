"""The page: charts whose sources a stream fills, and around them what is in words and numbers.

A chart has one source, named as the part of the state that fills it (``picture``): its first column is x, each other
column a line.  The page loads everything from its own server and nothing from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM
    from bokeh.plotting import figure as Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
DASHES = ("solid", "dashed", "dotdash", "dotted")
GREY = "#767676"
SHARES: dict[float | str, Any] = {
    1.0: "0 %",
    2.0: "50 %",
    10.0: "90 %",
    100.0: "99 %",
    1e3: "99.9 %",
    1e4: "99.99 %",
    1e5: "99.999 %",
}


class Panel(NamedTuple):
    """A chart: the part of the state that it shows, by its columns."""

    part: str
    title: str
    x: str
    columns: Sequence[str]
    x_label: str
    y_label: str
    x_axis: Literal["linear", "log", "datetime"] = "linear"


PANELS = (
    Panel("requests", "Requests by second", "t_s", ("due", "ok", "failed", "over_limit"), "seconds", "per second"),
    Panel("by_second", "Response time by second", "t_s", ("mean", "longest"), "seconds", "ms"),
    Panel("quantiles", "Quantiles of the response time", "t_s", ("p50", "p95", "p99"), "seconds", "ms"),
    Panel(
        "distribution",
        "Distribution so far",
        "spread",
        ("response_time", "ttft", "itl"),
        "share of samples at or below",
        "ms",
        "log",
    ),
)

MONITOR = (
    Panel("recent", "Requests by second", "t_ms", ("ok", "failed"), "time", "requests", "datetime"),
    Panel("latency", "Response time by second", "t_ms", ("median", "longest"), "time", "ms", "datetime"),
    Panel("minutes", "Response time by minute", "t_ms", ("p50", "p95", "p99"), "time", "ms", "datetime"),
    Panel("hours", "Response time by hour", "t_ms", ("p50", "p95", "p99"), "time", "ms", "datetime"),
)

PAGES = {"run": PANELS, "monitor": MONITOR}
"""The charts of each kind of page."""


def files_of(title: str, panels: Sequence[Panel] = PANELS) -> dict[str, tuple[str, bytes]]:
    """The files of the page by path, each with its kind."""
    script = "text/javascript; charset=utf-8"
    return {
        "": ("text/html; charset=utf-8", _html(title, panels)),
        "live.js": (script, _text("live.js").encode()),
        "live.css": ("text/css; charset=utf-8", _text("live.css").encode()),
        "bokeh.js": (script, _bokeh()),
        "charts.json": ("application/json", _charts(panels)),
    }


def _html(title: str, panels: Sequence[Panel]) -> bytes:
    from jinja2 import Environment, StrictUndefined

    made = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    return made.from_string(_text("live.html")).render(title=title, panels=panels).encode()


def _charts(panels: Sequence[Panel]) -> bytes:
    """Each chart as an item for Bokeh to embed in the element of its part."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    return json.dumps([json_item(_drawn(panel), ID(f"chart-{panel.part}")) for panel in panels]).encode()


def _drawn(panel: Panel) -> LayoutDOM:
    from bokeh.models import BasicTickFormatter, ColumnDataSource, HoverTool

    source = ColumnDataSource({name: [] for name in (panel.x, *panel.columns)}, name=panel.part)
    plot = _blank(panel)
    for i, name in enumerate(panel.columns):
        plot.line(
            panel.x, name, source=source, name=name, legend_label=name.replace("_", " "), line_width=1.8,
            color=COLOURS[i % len(COLOURS)], line_dash=DASHES[i % len(DASHES)],
        )  # fmt: skip
    plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    if panel.x_axis == "log":
        plot.xaxis.ticker = [float(share) for share in SHARES]
        plot.xaxis.major_label_overrides = dict(SHARES)
    plot.add_tools(HoverTool(tooltips=[("", "$name"), (panel.y_label, "$y{0,0.[00]}")], mode="mouse"))
    for legend in plot.legend:
        legend.background_fill_alpha = legend.border_line_alpha = 0.0
        legend.label_text_color = GREY
        legend.click_policy = "hide"
        legend.ncols = len(panel.columns)
        plot.add_layout(legend, "above")
    return plot


def _blank(panel: Panel) -> Figure:
    from bokeh.plotting import figure

    plot = figure(
        height=240,
        sizing_mode="stretch_width",
        x_axis_label=panel.x_label,
        y_axis_label=panel.y_label,
        x_axis_type=panel.x_axis,
        tools="xpan,xbox_zoom,xwheel_zoom,reset,save",
        active_scroll=None,
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=GREY,
        output_backend="canvas",
    )
    plot.toolbar.logo = None
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_color = axis.major_label_text_color = GREY
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = GREY
        axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.2
    return plot


def _bokeh() -> bytes:
    """Bokeh's script, without the address from which it would load MathJax."""
    from bokeh.resources import Resources

    mathjax = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-svg.js"
    scripts: list[Any] = Resources(mode="inline", components=["bokeh"], log_level="error").js_raw
    return "\n".join(script.replace(mathjax, "data:,") for script in scripts).encode()


def _text(name: str) -> str:
    return files("perfsuite.live").joinpath(name).read_text(encoding="utf-8")
