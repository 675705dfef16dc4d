"""The page: charts whose sources a stream fills, and around them what is in words and numbers.

A chart has one source, named as the part of the state that fills it (``picture``): its first column is x, each other
column a line.  The page loads everything from its own server and nothing from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

HEIGHT = 240


class Panel(NamedTuple):
    """A chart: the part of the state that it shows, by its columns."""

    part: str
    title: str
    x: str
    columns: Sequence[str]
    x_label: str
    y_label: str
    x_axis: Literal["linear", "log", "datetime"] = "linear"
    every_ms: float = 0.0
    """From one point to the next, where there may be one alone: it is marked, and the axis as wide."""

    @property
    def header(self) -> list[str]:
        """Of the table of its figures."""
        return [self.x_label, *(f"{name.replace('_', ' ')}, {self.y_label}" for name in self.columns)]


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
    Panel("recent", "Requests by second", "t_ms", ("ok", "failed"), "time (UTC)", "requests", "datetime"),
    Panel("latency", "Response time by second", "t_ms", ("median", "longest"), "time (UTC)", "ms", "datetime"),
    Panel("minutes", "Response time by minute", "t_ms", ("p50", "p95", "p99"), "time (UTC)", "ms", "datetime", 6e4),
    Panel("minute_failures", "Failures by minute", "t_ms", ("failed",), "time (UTC)", "% of requests", "datetime", 6e4),
    Panel("hours", "Response time by hour", "t_ms", ("p50", "p95", "p99"), "time (UTC)", "ms", "datetime", 3.6e6),
    Panel("hour_failures", "Failures by hour", "t_ms", ("failed",), "time (UTC)", "% of requests", "datetime", 3.6e6),
)

PAGES = {"run": PANELS, "monitor": MONITOR}
"""The charts of each kind of page."""


def files_of(title: str, kind: str = "run") -> dict[str, tuple[str, bytes]]:
    """The files of a kind of page by path, each with its content type."""
    from perfsuite.charts import embed

    script = "text/javascript; charset=utf-8"
    return {
        "": ("text/html; charset=utf-8", _html(title, kind)),
        "live.js": (script, _text("live.js").encode()),
        "live.css": ("text/css; charset=utf-8", _text("live.css").encode()),
        "bokeh.js": (script, "\n".join((*embed.bokeh(), embed.script("paint.js"))).encode()),
        "charts.json": ("application/json", _charts(PAGES[kind])),
    }


def _html(title: str, kind: str) -> bytes:
    from jinja2 import Environment, StrictUndefined

    made = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    return made.from_string(_text("live.html")).render(title=title, kind=kind, panels=PAGES[kind]).encode()


def _charts(panels: Sequence[Panel]) -> bytes:
    """Each chart as an item for Bokeh to embed in the element of its part; and the colours that they change."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    from perfsuite.charts.embed import COLOURS

    items = [json_item(_drawn(panel), ID(f"chart-{panel.part}")) for panel in panels]
    return json.dumps({"items": items, "colours": COLOURS}).encode()


def _drawn(panel: Panel) -> LayoutDOM:
    """A chart that waits for its data: one source with a column for each line, so that all move at once."""
    from bokeh.models import BasicTickFormatter, ColumnDataSource, DataRange1d

    from perfsuite.charts.colours import DASHES, LIGHT
    from perfsuite.charts.distribution import NAMED, spread
    from perfsuite.charts.plot import blank, finished, hover

    source = ColumnDataSource({name: [] for name in (panel.x, *panel.columns)}, name=panel.part)
    plot = blank(panel.x_label, panel.y_label, x_axis=panel.x_axis, height=HEIGHT)
    for name, colour, dash in zip(panel.columns, LIGHT, DASHES, strict=False):
        plot.line(
            panel.x, name, source=source, name=name, legend_label=name.replace("_", " "), line_width=1.8,
            line_color=colour, line_dash=dash,
        )  # fmt: skip
        if panel.every_ms:
            plot.scatter(
                panel.x, name, source=source, name=name, legend_label=name.replace("_", " "), size=4, line_color=colour,
                fill_color=colour,
            )  # fmt: skip
    if panel.every_ms:
        plot.x_range = DataRange1d(min_interval=2.0 * panel.every_ms)
    if panel.y_label != "ms":  # how many, or what share: from nothing on
        plot.y_range = DataRange1d(start=0.0, min_interval=1.0)
    plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    if panel.x_axis == "log":
        plot.xaxis.ticker = [spread(q) for q in NAMED]
        plot.xaxis.major_label_overrides = {spread(q): text for q, text in NAMED.items()}
    plot.toolbar_location = None  # the page has a button, which a keyboard reaches
    hover(plot, [("", "$name"), (panel.y_label, "$y{0,0.[00]}")])
    return finished(plot, len(panel.columns))


def _text(name: str) -> str:
    return files("perfsuite.live").joinpath(name).read_text(encoding="utf-8")
