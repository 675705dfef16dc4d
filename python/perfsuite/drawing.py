"""Line charts as Bokeh's documents, written without importing Bokeh.

To import Bokeh's models takes longer than most runs use of a processor otherwise.  What they come to is a document:
JSON, which BokehJS draws in a page and which Bokeh's own reader turns into models (``figure``, for a notebook).  Only
what differs from the models' defaults is in it, so any Bokeh from 3.4 on draws it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
DASHES: tuple[list[int], ...] = ([], [6], [2, 4, 6, 4], [2, 4], [6, 4, 2, 4], [], [6])
"""Lengths in pixels, drawn and left out in turns; none: solid.  Names of them BokehJS does not know everywhere."""
DOTTED = [2, 4]
GREY = "#767676"
HEIGHT = 260
LINE_WIDTH = 1.6
DIGITS = 12
"""Of a number that is drawn: more than can be told apart, in a window of whatever width."""

_MATHJAX = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-svg.js"
_AXIS = dict.fromkeys(
    (
        "axis_label_text_color",
        "major_label_text_color",
        "axis_line_color",
        "major_tick_line_color",
        "minor_tick_line_color",
    ),
    GREY,
)

Json = dict[str, Any]
Line = tuple[str, Sequence[float], Sequence[float]]
"""Name, x, y."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is on a chart.

    ``tip``: (name, BokehJS's format) of x under the pointer.  ``ticks``: places on a logarithmic axis of x and what
    stands there; nothing: the axis is linear, with ticks of its own.  ``marks``: where a dotted line goes across.
    """

    lines: Sequence[Line]
    x_label: str
    y_label: str
    tip: tuple[str, str]
    ticks: Sequence[tuple[float, str]] = ()
    marks: Sequence[float] = ()


class _Models:
    """Bokeh's models as its documents have them, each with an id of its own, which is none that Bokeh gives."""

    def __init__(self, prefix: str = "chart") -> None:
        self._prefix = prefix
        self._made = 0

    def __call__(self, kind: str, **attributes: object) -> Json:
        self._made += 1
        return {"type": "object", "name": kind, "id": f"{self._prefix}-{self._made}", "attributes": attributes}


def document(charts: Iterable[Drawn]) -> Json:
    """The document whose roots are figures of the charts."""
    make = _Models()
    roots = [_figure(make, one) for one in charts]
    return {"version": version(), "title": "perfsuite", "config": None, "roots": roots}


def figure(chart: Drawn) -> Figure:
    """The chart as Bokeh's model."""
    from uuid import uuid4

    from bokeh.core.serialization import Deserializer

    made: Figure = Deserializer().deserialize(_figure(_Models(uuid4().hex), chart))  # several may be in one document
    return made


def embedded(charts: Sequence[Drawn]) -> tuple[str, list[str]]:
    """A script element that draws the charts once the page is read, and the element of each."""
    drawn = document(charts)
    places = {root["id"]: f"place-{number}" for number, root in enumerate(drawn["roots"])}
    items = json.dumps([{"docid": "charts", "roots": places, "root_ids": list(places)}])
    # In a script nothing that a server said may end it, or begin a comment.
    text = json.dumps({"charts": drawn}, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    script = (
        "<script>document.addEventListener('DOMContentLoaded', () => "
        f"Bokeh.safely(() => Bokeh.embed.embed_items({text}, {items})));</script>"
    )
    elements = [
        f'<div id="{place}" data-root-id="{root}" style="display: contents;"></div>' for root, place in places.items()
    ]
    return script, elements


@cache
def library() -> str:
    """The script element of BokehJS, without widgets, tables and maps, which no chart here uses, and without the
    address from which it would load MathJax for a label with TeX in it."""
    spec = find_spec("bokeh")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the page's charts need bokeh, which is not installed", name="bokeh")
    script = Path(spec.submodule_search_locations[0], "server", "static", "js", "bokeh.min.js").read_text("utf-8")
    return f"<script>{script.replace(_MATHJAX, 'data:,')}\nBokeh.set_log_level('error');</script>"


@cache
def version() -> str:
    """Bokeh's."""
    return metadata.version("bokeh")


def _figure(make: _Models, chart: Drawn) -> Json:
    x_axis, y_axis = _axes(make, chart)
    renderers = [_line(make, number, line) for number, line in enumerate(chart.lines)]
    return make(
        "Figure",
        height=HEIGHT,
        sizing_mode="stretch_width",
        x_range=make("DataRange1d"),
        y_range=make("DataRange1d"),
        x_scale=make("LogScale" if chart.ticks else "LinearScale"),
        y_scale=make("LinearScale"),
        outline_line_color=GREY,
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        renderers=renderers,
        toolbar=make("Toolbar", logo=None, active_scroll=None, tools=_tools(make, chart)),
        below=[x_axis],
        left=[y_axis],
        above=[_legend(make, chart, renderers)],
        center=[_grid(make, x_axis, 0), _grid(make, y_axis, 1), *(_mark(make, at) for at in chart.marks)],
    )


def _line(make: _Models, number: int, line: Line) -> Json:
    _, x, y = line
    glyph = make(
        "Line",
        x={"type": "field", "field": "x"},
        y={"type": "field", "field": "y"},
        line_color=OKABE_ITO[number % len(OKABE_ITO)],
        line_dash=DASHES[number % len(DASHES)],
        line_width=LINE_WIDTH,
    )
    data = {"type": "map", "entries": [["x", _numbers(x)], ["y", _numbers(y)]]}
    return make("GlyphRenderer", data_source=make("ColumnDataSource", data=data), glyph=glyph)


def _axes(make: _Models, chart: Drawn) -> tuple[Json, Json]:
    own: Json = {}
    if chart.ticks:
        own["ticker"] = make("FixedTicker", ticks=[at for at, _ in chart.ticks])
        own["major_label_overrides"] = {"type": "map", "entries": [[at, text] for at, text in chart.ticks]}
    plain = make("BasicTickFormatter", use_scientific=False)
    style = {**_AXIS, "axis_label_text_font_style": "normal"}
    return (
        make("LogAxis" if chart.ticks else "LinearAxis", axis_label=chart.x_label, **style, **own),
        make("LinearAxis", axis_label=chart.y_label, formatter=plain, **style),
    )


def _tools(make: _Models, chart: Drawn) -> list[Json]:
    return [
        make("PanTool", dimensions="width"),
        make("BoxZoomTool", dimensions="width"),
        make("WheelZoomTool", dimensions="width"),
        make("ResetTool"),
        make("SaveTool"),
        make("HoverTool", tooltips=[list(chart.tip), [chart.y_label, "$y{0,0.00}"]]),
    ]


def _legend(make: _Models, chart: Drawn, renderers: Sequence[Json]) -> Json:
    items = [
        make("LegendItem", label={"type": "value", "value": name}, renderers=[{"id": renderer["id"]}])
        for (name, _, _), renderer in zip(chart.lines, renderers, strict=True)
    ]
    return make(
        "Legend",
        items=items,
        ncols=min(len(items), 4),
        background_fill_alpha=0.0,
        border_line_alpha=0.0,
        label_text_color=GREY,
        click_policy="hide",
    )


def _grid(make: _Models, axis: Json, dimension: int) -> Json:
    return make("Grid", axis={"id": axis["id"]}, dimension=dimension, grid_line_color=GREY, grid_line_alpha=0.2)


def _mark(make: _Models, at: float) -> Json:
    return make("Span", location=at, dimension="height", line_color=GREY, line_dash=DOTTED, line_alpha=0.6)


def _numbers(values: Iterable[float]) -> list[float | Json]:
    return [float(f"{y:.{DIGITS}g}") if math.isfinite(y) else {"type": "number", "value": _named(y)} for y in values]


def _named(value: float) -> str:
    return "nan" if math.isnan(value) else "+inf" if value > 0 else "-inf"
