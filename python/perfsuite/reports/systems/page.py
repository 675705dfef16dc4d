"""``comparison_TS.html``: the table of memory systems and the chart of quality against cost, one file without scripts.

The chart is SVG in the page: it reads in light and dark, prints, and says what it shows to a screen reader; colours are
Okabe and Ito's, and classes differ in shape too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

from perfsuite.analysis.retrieval import HEADLINE, MEASURES
from perfsuite.reports.figures import printable
from perfsuite.reports.systems.rows import (
    COLUMNS,
    KINDS,
    Row,
    about,
    headline,
    measured,
    pairs_said,
    rows,
    visibility_said,
    warning,
)
from perfsuite.reports.systems.rows import title as named
from perfsuite.suites.memory.comparison_result import Comparison, Figure
from perfsuite.units import figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
WIDTH, HEIGHT = 820, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 24, 56
LABEL = 15
"""Between two labels, at least."""


class Point(NamedTuple):
    """A system on one size or set: quality against cost."""

    name: str
    group: str
    kind: str
    colour: str
    hollow: bool
    cost_ms: float
    quality: Figure


def page(comparison: Comparison) -> str:
    """The page."""
    said = _said
    every = list(rows(comparison))
    title = headline(comparison)
    out = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{said(title)} – perfsuite</title>",
        f"<style>{files('perfsuite.reports').joinpath('style.css').read_text(encoding='utf-8')}{STYLE}</style>",
        f"</head><body><main><h1>{said(title)}</h1>",
    ]
    if comparison.heading:
        out.append(f'<p class="heading"><strong>{said(comparison.heading.upper())}.</strong> ')
        out.append(f"{said(warning(comparison))}</p>")
    settings = comparison.settings
    out.append(
        f"<p>{said(comparison.data)}. k = {said(settings.get('k'))}, dimension {said(settings.get('dim'))}, "
        f"{said(settings.get('rounds'))} rounds in turn. Model: {said(comparison.model)}. "
        f"Tokens by {said(comparison.tokenizer)}.</p>"
    )
    out += _chart(comparison)
    for name in comparison.group_names:
        some = [row for row in every if row.group is not None and row.group.name == name]
        out += _table(comparison, name, some)
    absent = [row for row in every if row.group is None]
    if absent:
        out.append("<h2>Not in the table</h2>")
        out += _list(f"{row.system.name}: {row.why}" for row in absent)
    if comparison.pairs:
        out.append("<h2>Differences, paired by conversation</h2>")
        out += _list(pairs_said(comparison))
        out.append('<p class="note">p values are adjusted for there being several pairs (Holm).</p>')
    out.append("<h2>Visible and durable</h2>")
    out += _list(f"{one.name}: {text}" for one in comparison.systems for text in visibility_said(one))
    out.append("<h2>What was measured</h2>")
    out += _list(f"{one.name}: {about(one)}" for one in comparison.systems if one.groups)
    where = comparison.environment
    out.append(f'<p class="note">{said(where.cpu)}, {where.cores} cores, {said(where.os)}, {said(where.python)}.</p>')
    if comparison.damaged:
        out.append("<h2>Left out of the file</h2>")
        out += _list(comparison.damaged)
    out.append("<h2>Rules</h2>")
    out += _list(comparison.rules)
    out.append("</main></body></html>")
    return "\n".join(out) + "\n"


STYLE = """
.heading { border: 2px solid var(--open); padding: .75rem; border-radius: .5rem }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif } svg .dim { fill: var(--dim) }
svg .axis { stroke: var(--dim) } svg .grid { stroke: var(--line) }
caption { text-align: left; color: var(--dim) }
"""


def _said(text: object) -> str:
    return escape(printable(str(text), 2000))


def _list(texts: Sequence[str] | Iterator[str]) -> list[str]:
    return ["<ul>", *[f'<li class="said">{_said(text)}</li>' for text in texts], "</ul>"]


def _table(comparison: Comparison, name: str, some: Sequence[Row]) -> Iterator[str]:
    group = some[0].group
    assert group is not None
    yield f"<h2>{_said(name)}</h2>"
    yield '<div class="scroll"><table>'
    yield f"<caption>{group.memories:,} memories, {group.questions:,} questions, data {_said(group.digest)}</caption>"
    heads = "".join(
        f'<th title="{_said(column.meaning)}">{_said(named(column.title, comparison))}</th>' for column in COLUMNS
    )
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    for row in some:
        first, *others = row.cells
        cells = "".join(f'<td class="number">{_said(cell)}</td>' for cell in others)
        yield f'<tr><th scope="row">{_said(first)}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    yield from _list(f"{row.system.name}: {row.why}" for row in some if row.why)
    yield "<details><summary>By kind of question, with 95 % intervals</summary>"
    yield '<div class="scroll"><table><thead><tr><th>system</th><th>questions</th>'
    yield (
        "".join(f"<th>{_said(named(one.title, comparison))}</th>" for one in MEASURES.values()) + "</tr></thead><tbody>"
    )
    for row in some:
        assert row.group is not None
        for kind, quality in row.group.quality.items():
            cells = "".join(f'<td class="number">{_said(measured(n, quality.get(n)))}</td>' for n in MEASURES)
            name = f'<th scope="row">{_said(row.system.name)}</th>'
            yield f"<tr>{name}<td>{_said(KINDS.get(kind, kind))}</td>{cells}</tr>"
    yield "</tbody></table></div></details>"


def points(comparison: Comparison) -> tuple[list[Point], list[str]]:
    """What is drawn, and what is not, with the reason."""
    found: list[Point] = []
    left: list[str] = []
    for index, one in enumerate(comparison.systems):
        for group in one.groups:
            quality = group.quality.get("all", {}).get(HEADLINE)
            cost = group.cost_ms
            if quality is not None and quality.value is not None and cost is not None and cost > 0:
                again, at = divmod(index, len(COLOURS))
                found.append(Point(one.name, group.name, one.kind, COLOURS[at], bool(again % 2), cost, quality))
            else:
                left.append(f"{one.name}, {group.name}: {group.recall.void or group.store.void or 'no figure'}")
    return found, left


def _chart(comparison: Comparison) -> Iterator[str]:
    drawn, left = points(comparison)
    title = "Quality against cost"
    if comparison.heading:
        title += f" ({comparison.heading}: the height of a point says nothing about a system with a model)"
    yield f"<figure><figcaption>{_said(title)}</figcaption>"
    if drawn:
        label = "; ".join(
            f"{one.name}, {one.group}: recall {one.quality.value:.2f} at {figure(one.cost_ms, 'ms')}" for one in drawn
        )
        yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_said(f"{title}. {label}")}">'
        yield from _axes(drawn)
        yield from _marks(drawn, several=len(comparison.group_names) > 1)
        yield "</svg>"
    else:
        yield "<p>No system has both a quality and a cost that may be shown.</p>"
    yield '<p class="note">Up and to the left is better. Cost: the mean time of one store and one recall, waiting for '
    yield "the model included; circles are raw stores, squares let a model extract; bars are 95 % intervals.</p>"
    if left:
        yield '<p class="note">Not drawn:</p>'
        yield from _list(left)
    yield "</figure>"


def _range(drawn: Sequence[Point]) -> tuple[int, int]:
    costs = [math.log10(one.cost_ms) for one in drawn]
    low, high = math.floor(min(costs)), math.ceil(max(costs))
    return low, max(high, low + 1)


def _x(cost_ms: float, low: int, high: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(cost_ms) - low) / (high - low)


def _y(quality: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - quality)


def _axes(drawn: Sequence[Point]) -> Iterator[str]:
    low, high = _range(drawn)
    bottom, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        yield f'<line class="grid" x1="{LEFT}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="dim" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>'
    for power in range(low, high + 1):
        x = _x(10.0**power, low, high)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="dim" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{figure(10.0**power, "ms")}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{end}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{bottom}"/>'
    middle = (LEFT + end) / 2
    yield f'<text x="{middle}" y="{bottom + 42}" text-anchor="middle">one memory stored and asked for once</text>'
    side, what = (TOP + bottom) / 2, _said(MEASURES[HEADLINE].title)
    yield f'<text x="16" y="{side}" text-anchor="middle" transform="rotate(-90 16 {side})">{what}</text>'


def _marks(drawn: Sequence[Point], *, several: bool) -> Iterator[str]:
    low, high = _range(drawn)
    labels: list[tuple[float, float, Point]] = []
    for one in drawn:
        quality = one.quality
        assert quality.value is not None
        x, y = _x(one.cost_ms, low, high), _y(quality.value)
        if quality.low is not None and quality.high is not None:
            yield (
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(quality.low):.1f}" y2="{_y(quality.high):.1f}" '
                f'stroke="{one.colour}" stroke-width="2" opacity="0.6"/>'
            )
        yield _mark(one, x, y, 6.5)
        labels.append((y, x, one))
    at, beside = -math.inf, WIDTH - RIGHT + 14
    for y, x, one in sorted(labels, key=lambda label: label[:2]):
        at = max(y, at + LABEL)
        text = f"{one.name}, {one.group}" if several else one.name
        yield (
            f'<line x1="{x:.1f}" x2="{beside - 8}" y1="{y:.1f}" y2="{at:.1f}" stroke="{one.colour}" '
            'stroke-dasharray="1 4" opacity="0.8"/>'
        )
        yield _mark(one, beside, at, 4.5)
        yield f'<text x="{beside + 10}" y="{at + 4:.1f}">{_said(text)}</text>'


def _mark(one: Point, x: float, y: float, radius: float) -> str:
    """A circle or a square; hollow where there are more systems than colours."""
    paint = f'fill="{"var(--paper)" if one.hollow else one.colour}" stroke="{one.colour}" stroke-width="2"'
    if one.kind == "extracting":
        side = 2 * radius
        return f'<rect x="{x - radius:.1f}" y="{y - radius:.1f}" width="{side}" height="{side}" {paint}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" {paint}/>'
