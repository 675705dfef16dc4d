"""``metrics-TS.html``: the verdict, the worst margins, and charts with their tables, in one file that needs no network.

Everything comes with the page (Bokeh's script too), and a content security policy forbids the rest: what a server said
is escaped, and could load nothing if it were not.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from perfsuite.reports.content import content
from perfsuite.reports.figures import label, printable, samples, stat
from perfsuite.result import Result
from perfsuite.units import figure, number

if TYPE_CHECKING:
    from jinja2 import Template

    from perfsuite.charts import Chart

_MATHJAX = "https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-svg.js"


def render(result: Result) -> str:
    """The page."""
    from markupsafe import Markup

    from perfsuite.charts import charts

    whole = content(result)
    drawn: list[tuple[str, list[Chart]]] = [(phase.name, charts(phase)) for phase in result.phases]
    script, figures = _embed([chart for _, some in drawn for chart in some])
    return _template().render(
        **{name: getattr(whole, name) for name in type(whole).__dataclass_fields__},
        run=result.run,
        recommendations=result.recommendations,
        charts=dict(drawn),
        figures={title: Markup(div) for title, div in figures.items()},
        # Bokeh's own script and the figures' data, in which Bokeh has escaped every angle bracket.
        scripts=Markup("\n".join([*_bokeh(), script]) if script else ""),
        style=Markup(_text("style.css")),
    )


def _embed(drawn: list[Chart]) -> tuple[str, dict[int, str]]:
    """The script that draws the charts, and the element of each by the chart's id."""
    if not drawn:
        return "", {}
    from bokeh.embed import components

    script, divs = components([chart.figure for chart in drawn], wrap_script=True)
    return script, {id(chart): div for chart, div in zip(drawn, divs, strict=True)}


def _bokeh() -> list[str]:
    """Bokeh's script, without the widgets, tables and maps that no chart here uses, and without the address from which
    it would load MathJax for a label with TeX in it."""
    from bokeh.resources import Resources

    resources = Resources(mode="inline", components=["bokeh"], log_level="error")
    return [f"<script>{script.replace(_MATHJAX, 'data:,')}</script>" for script in resources.js_raw]


@cache
def _text(name: str) -> str:
    return files("perfsuite.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    made = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    made.filters |= {
        "said": lambda text: printable(text, 2000),
        "count": lambda value: f"{value:,}",
        "plain": number,
        "cell": lambda value: value if isinstance(value, str) else number(value, 5),
        "seconds": lambda value: figure(value, "s"),
        "label": label,
        "samples": samples,
        "stat": stat,
        "key": id,
        "slug": lambda text: text.replace(" ", "-"),
    }
    return made.from_string(_text("metrics.html"))
