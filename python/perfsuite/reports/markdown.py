"""``report-TS.md``: each phase's verdict, every figure beside its target, what failed and what to do about it."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from perfsuite.reports.content import content
from perfsuite.reports.figures import label, printable, requests, samples, stat
from perfsuite.result import Result
from perfsuite.units import figure, number

if TYPE_CHECKING:
    from jinja2 import Template

# What would be markup where it stands; an underscore inside a name, a lone < or a bracket without a link is none, and
# stays readable (and findable by grep).
_SPECIAL = re.compile(r"([\\`*|~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|^[#+=-](?=[ #+=-])|<(?=[A-Za-z/!?]))")


def render(result: Result) -> str:
    """The report as Markdown."""
    text = _template().render(run=result.run, recommendations=result.recommendations, **_fields(result))
    return re.sub(r"\n{3,}", "\n\n", text)


def _fields(result: Result) -> dict[str, object]:
    whole = content(result)
    return {name: getattr(whole, name) for name in type(whole).__dataclass_fields__}


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    # Not HTML: every value goes through ``md``, which leaves nothing that Markdown or HTML would take for markup.
    made = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    made.filters |= {
        "md": escape,
        "count": lambda value: f"{value:,}",
        "plain": number,
        "requests": requests,
        "seconds": lambda value: figure(value, "s"),
        "label": label,
        "samples": samples,
        "stat": stat,
    }
    return made.from_string(files("perfsuite.reports").joinpath("report.md").read_text(encoding="utf-8"))


def escape(text: str) -> str:
    """Foreign text that stays on its line and in its cell, and means nothing to Markdown."""
    text = printable(text, 2000).replace("&", "&amp;")
    return _SPECIAL.sub(lambda match: "&lt;" if match[1] == "<" else "\\" + match[1], text)
