"""``metrics-TS.html``: the verdict, the worst margins, and charts with their tables, in one file that needs no network.

Everything comes with the page (Bokeh's script too), and a content security policy forbids the rest: what a server said
is escaped, and could load nothing if it were not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from perfsuite.analysis.bottlenecks import bottlenecks
from perfsuite.analysis.bottlenecks import stages as stages_of
from perfsuite.reports.beside import Beside
from perfsuite.reports.changes import HEADER, rows
from perfsuite.reports.content import content
from perfsuite.reports.figures import label, printable, requests, samples, stat
from perfsuite.reports.past import course
from perfsuite.result import Result
from perfsuite.units import figure, number

if TYPE_CHECKING:
    from jinja2 import Template

    from perfsuite.charts import Chart


def render(result: Result, beside: Beside | None = None) -> str:
    """The page; ``beside``: past runs and an earlier result, where there are any."""
    from markupsafe import Markup

    from perfsuite.charts import charts
    from perfsuite.charts.embed import embedded, library, page_script
    from perfsuite.charts.past import trend_chart
    from perfsuite.charts.stages import stages_by_phase

    whole = content(result)
    stages = list(stages_by_phase([took for phase in result.phases if (took := stages_of(phase)) is not None]))
    drawn: dict[str, list[Chart]] = {phase.name: charts(phase) for phase in result.phases}
    beside = beside or Beside()
    trends = [trend_chart(one) for one in beside.notable()]
    compared = [] if beside.before is None else list(_compared(beside.before, result))
    groups = [stages, trends, compared, *drawn.values()]
    every = [chart for some in groups for chart in some]
    parts = embedded(groups) if every else None
    return _template().render(
        **{name: getattr(whole, name) for name in type(whole).__dataclass_fields__},
        run=result.run,
        recommendations=result.recommendations,
        bottlenecks=bottlenecks(result.phases, result.environment.cores),
        stages=stages,
        trends=trends,
        courses=[(one.figure.phase, *course(one)) for one in beside.trends],
        before=beside.before,
        compared=compared,
        judgements=[(judged, rows(judged)) for judged in beside.judgements],
        changes_header=HEADER,
        charts=drawn,
        roots={} if parts is None else {id(chart): root for chart, root in zip(every, parts.roots, strict=True)},
        data=None if parts is None else parts.data,
        about=None if parts is None else parts.about,
        library="" if parts is None else library(),
        script="" if parts is None else Markup(page_script()),
        style=Markup(_text("style.css")),
    )


def _compared(before: Result, after: Result) -> Iterator[Chart]:
    from perfsuite.charts.before_and_after import before_and_after

    earlier = {phase.name: phase for phase in before.phases}
    for phase in after.phases:
        if phase.name in earlier:
            yield from before_and_after(earlier[phase.name], phase)


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
        "requests": requests,
        "cell": lambda value: value if isinstance(value, str) else number(value, 5),
        "seconds": lambda value: figure(value, "s"),
        "label": label,
        "samples": samples,
        "stat": stat,
        "key": id,
        "anchor": lambda index: f"phase-{index}",
        "slug": lambda text: text.replace(" ", "-"),
    }
    return made.from_string(_text("metrics.html"))
