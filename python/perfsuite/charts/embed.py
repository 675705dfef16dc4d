"""Charts in a page of their own: Bokeh's script, the charts' data and an element for each, all of it inline.

Both are compressed: Bokeh's script to a third of its size, the data, a Bokeh document in JSON for each phase, to a
tenth.  A document is read when the first of its charts is drawn; `page.js` draws the charts one after another, those in
view first, so that the first is there before the last is begun.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from perfsuite.charts.chart import Chart
from perfsuite.charts.colours import HEAT_DARK, HEAT_LIGHT, SWAPS

MATHJAX = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-svg.js"
"""From where Bokeh's script would load MathJax for a label with TeX in it: no label of these has."""


COLOURS = {"swaps": SWAPS, "heat": [HEAT_LIGHT, HEAT_DARK]}
"""What `paint.js` is told."""


class Embedded(NamedTuple):
    """Charts as parts of a page: ``data`` is the text of script#charts and ``about`` its attribute data-about;
    ``roots``: for each chart, in order, what its element names in data-chart."""

    data: str
    about: str
    roots: list[str]


def embedded(groups: Sequence[Sequence[Chart]]) -> Embedded:
    """Charts in groups, each of which is a document: only within one may charts share a range."""
    from bokeh.document import Document

    documents: list[str] = []
    where: dict[str, int] = {}
    roots: list[str] = []
    for group in groups:
        if not group:
            continue
        document = Document()
        with document.models.freeze():  # else every root looks through all that is there before it
            for chart in group:
                chart.figure.toolbar_location = None  # the page has its own buttons, which a keyboard reaches
                document.add_root(chart.figure)
        where.update(dict.fromkeys((chart.figure.id for chart in group), len(documents)))
        roots += [chart.figure.id for chart in group]
        text = json.dumps(document.to_json(deferred=False), separators=(",", ":"))
        documents.append(_packed(text, 6))
        document.clear()  # the figures may go into another
    about = json.dumps({"where": where, "colours": COLOURS}, separators=(",", ":"))
    return Embedded("\n".join(documents), about, roots)


def _packed(text: str, level: int) -> str:
    return base64.b64encode(gzip.compress(text.encode(), level, mtime=0)).decode("ascii")


@cache
def library() -> str:
    """Bokeh's script as the text of script#bokeh, which `page.js` unpacks."""
    return _packed("\n".join(bokeh()), 9)


@cache
def bokeh() -> tuple[str, ...]:
    """Bokeh's core, without widgets, tables and maps."""
    from bokeh.resources import Resources

    resources = Resources(mode="inline", components=["bokeh"], log_level="error")
    return tuple(script.replace(MATHJAX, "data:,") for script in resources.js_raw)


def script(name: str) -> str:
    """A script of this room: `paint.js` or `page.js`."""
    return files("perfsuite.charts").joinpath(name).read_text(encoding="utf-8")


def page_script() -> str:
    """What a page runs that has ``library`` and ``embedded`` in it."""
    return script("paint.js") + script("page.js")
