"""What a result shows of itself in a notebook: its verdict and its criteria, worst first.  Charts: `plot()`."""

from __future__ import annotations

from html import escape

from perfsuite.reports.content import Content, Place, content
from perfsuite.reports.figures import printable
from perfsuite.result import Result

HEADER = ("metric", "value", "95 % interval", "target", "margin", "verdict")
COLOURS = {"passed": "#1F8A5B", "failed": "#D1493F"}
"""On a light notebook and on a dark one."""


def fragment(result: Result) -> str:
    """HTML without scripts and without styles of its own page, which a notebook would have to trust."""
    whole = content(result)
    parts = [
        f"<p><strong>{escape(whole.verdict)}</strong> {_text(result.run.target)}: {escape(whole.tally)}</p>",
        *(
            [f"<p><strong>The run ended by an error:</strong> {_text(result.run.error)}</p>"]
            if result.run.error
            else []
        ),
        _table(whole) if whole.worst else "<p>Nothing was measured against a target.</p>",
        *(f"<p>{_text(advice.text)}</p>" for advice in result.recommendations),
    ]
    return "<div>" + "".join(parts) + "</div>"


def _table(whole: Content) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADER)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, whole.worst))}</tbody></table>"


def _row(place: Place) -> str:
    row, verdict = place.row, place.metric.verdict
    reason = f": {_text(place.metric.reason)}" if place.metric.reason else ""
    value = f"{row.value or '–'} {row.error}".strip()
    cells = "".join(f"<td>{escape(text)}</td>" for text in (value, row.interval, row.target, place.margin))
    colour = COLOURS.get(verdict)
    style = f' style="color: {colour}"' if colour else ""
    return (
        f'<tr><th scope="row">{_text(place.phase)}: {escape(row.name)}</th>{cells}'
        f"<td><span{style}>{escape(verdict)}</span>{reason}</td></tr>"
    )


def _text(text: str) -> str:
    return escape(printable(text, 2000))
