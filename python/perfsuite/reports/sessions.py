"""Sessions of the browser monitor as they are shown: the document's report of one, and two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from perfsuite.realtime.analysis import Issue, figures, issues, report, written
from perfsuite.realtime.comparison import Compared
from perfsuite.realtime.logs import Logs
from perfsuite.realtime.rules import rules
from perfsuite.reports import markdown as md
from perfsuite.reports import tables
from perfsuite.reports.figures import printable

TITLE = "Performance Analysis Report"
TITLE_OF_TWO = "Performance Comparison"
HEAD = ("", "before", "after", "change", "")
NOBODYS = "None"


# ── on the screen ─────────────────────────────────────────────────────────────────────────────────────────────────────


def terminal(logs: Logs) -> str:
    """The document's report, line for line."""
    return "\n".join(printable(line, 4096) for line in report(logs).split("\n")) + "\n"


def terminal_of_two(compared: Compared, names: tuple[str, str]) -> str:
    """Figures side by side, and whose issues they are."""
    lines = [TITLE_OF_TWO, *_sessions(compared, names), ""]
    lines += tables.lines([HEAD, *compared.rows])
    for title, found in _grouped(compared):
        lines += ["", f"{title}:", *(f"- {printable(one.text, 4096)}" for one in found), *([] if found else ["- None"])]
    return "\n".join([*lines, "", _count(compared)]) + "\n"


def _sessions(compared: Compared, names: tuple[str, str]) -> list[str]:
    return [
        f"{which}: {printable(name)}, {printable(logs.session.ended) or 'no date'}, {_length(logs)}"
        for which, name, logs in zip(("before", "after"), names, (compared.before, compared.after), strict=True)
    ]


def _length(logs: Logs) -> str:
    duration = logs.session.duration_ms
    return "of unknown length" if duration is None else f"{duration / 60_000:.1f} minutes"


def _grouped(compared: Compared) -> list[tuple[str, Sequence[Issue]]]:
    return [("New issues", compared.new), ("Issues gone", compared.gone), ("Issues of both", compared.both)]


def _count(compared: Compared) -> str:
    return (
        f"{len(compared.worse)} of {len(compared.rows)} figures got worse, {len(compared.better)} better "
        "(a change counts from a tenth on)"
    )


# ── as files ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def markdown(logs: Logs) -> str:
    """The report of a session as Markdown."""
    found = figures(logs)
    named = issues(logs, found)
    lines = [f"# {TITLE}", "", md.escape(logs.session.ended), "", "| metric | value |", "| --- | --- |"]
    lines += [f"| {line.label} | {md.escape(written(line.form, found[line.figure]))} |" for line in rules().metrics]
    lines += ["", "## Issues Detected", "", *_items([one.text for one in named])]
    lines += ["", "## Recommendations", "", *_items([one.recommendation for one in named])]
    return "\n".join(lines) + "\n"


def markdown_of_two(compared: Compared, names: tuple[str, str]) -> str:
    """Two sessions as Markdown."""
    lines = [f"# {TITLE_OF_TWO}", "", *(f"- {md.escape(text)}" for text in _sessions(compared, names)), ""]
    lines += ["| figure | before | after | change | |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(map(md.escape, row))} |" for row in compared.rows]
    for title, found in _grouped(compared):
        lines += ["", f"## {title}", "", *_items([one.text for one in found])]
    return "\n".join([*lines, "", _count(compared)]) + "\n"


def _items(texts: Sequence[str]) -> list[str]:
    return [f"- {md.escape(text)}" for text in texts] or [f"- {NOBODYS}"]


def page(logs: Logs) -> str:
    """The report of a session as a page."""
    found = figures(logs)
    named = issues(logs, found)
    body = [f"<p>{_html(logs.session.ended)}, {_length(logs)}, {_html(logs.session.url)}</p>"]
    body += _table(
        ("metric", "value"), [(line.label, written(line.form, found[line.figure])) for line in rules().metrics]
    )
    body += _list("Issues Detected", [one.text for one in named])
    body += _list("Recommendations", [one.recommendation for one in named])
    return _page(TITLE, body)


def page_of_two(compared: Compared, names: tuple[str, str]) -> str:
    """Two sessions as a page."""
    body = [f"<p>{_html(text)}</p>" for text in (*_sessions(compared, names), _count(compared))]
    body += _table(("figure", "before", "after", "change", "verdict"), compared.rows)
    for title, found in _grouped(compared):
        body += _list(title, [one.text for one in found])
    return _page(TITLE_OF_TWO, body)


def _page(title: str, body: Sequence[str]) -> str:
    style = files("perfsuite.reports").joinpath("style.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title} – perfsuite</title>",
            f"<style>{style}</style>",
            f"</head><body><main><h1>{title}</h1>",
            *body,
            "</main></body></html>",
            "",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield (
        "<table><thead><tr>" + "".join(f'<th scope="col">{_html(cell)}</th>' for cell in head) + "</tr></thead><tbody>"
    )
    for first, *rest in rows:
        cells = "".join(f"<td>{_html(cell)}</td>" for cell in rest)
        yield f'<tr><th scope="row">{_html(first)}</th>{cells}</tr>'
    yield "</tbody></table>"


def _list(title: str, texts: Sequence[str]) -> list[str]:
    items = "".join(f"<li>{_html(text)}</li>" for text in texts) or f"<li>{NOBODYS}</li>"
    return [f"<h2>{title}</h2><ul>{items}</ul>"]


def _html(text: str) -> str:
    return escape(printable(text, 4096))
