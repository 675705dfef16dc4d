"""Two sessions side by side, and the command that shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfsuite.cli import main
from perfsuite.realtime.comparison import Row, compare
from perfsuite.realtime.logs import FORMAT, Logs, parse
from perfsuite.reports import sessions

GOLDEN = Path(__file__).parents[2] / "golden/realtime"


def logs(minutes: float = 6.0, **totals: Any) -> Logs:
    whole = {
        "format": FORMAT,
        "version": 1,
        "session": {"ended": "2026-11-21T20:06:00.000Z", "durationMs": minutes * 60_000},
        "totals": totals,
    }
    found = parse(json.dumps(whole).encode(), "it")
    assert found is not None
    return found


def row(before: Logs, after: Logs, label: str) -> Row:
    return next(one for one in compare(before, after).rows if one.label.startswith(label))


def spread(mean: float) -> dict[str, float]:
    return {"count": 10, "sum": 10 * mean, "max": 2 * mean}


@pytest.mark.parametrize(
    ("before", "after", "change", "verdict"),
    [
        (20.0, 30.0, "+10.0ms (+50%)", "worse"),
        (30.0, 20.0, "-10.0ms (-33%)", "better"),
        (20.0, 500.0, "+480.0ms (×25)", "worse"),
        (20.0, 21.0, "+1.0ms (+5%)", ""),
        (0.2, 0.4, "+0.2ms (+100%)", ""),
        (20.0, 20.0, "", ""),
    ],
)
def test_a_figure_of_both(before: float, after: float, change: str, verdict: str) -> None:
    found = row(logs(processingMs=spread(before)), logs(processingMs=spread(after)), "Average Processing Time")
    assert (found.change, found.verdict) == (change, verdict)


@pytest.mark.parametrize("measured", [0, 1])
def test_what_one_has_not_measured_is_not_held_against_the_other(measured: int) -> None:
    both = [logs(), logs()]
    both[measured] = logs(processingMs=spread(1.0))
    found = row(both[0], both[1], "Average Processing Time")
    assert (found.before, found.after)[1 - measured] == "not measured"
    assert (found.change, found.verdict) == ("", "")


@pytest.mark.parametrize(
    ("minutes", "verdict"), [(6.0, "worse"), (12.0, ""), (60.0, "better")], ids=["as long", "twice", "ten times"]
)
def test_counts_are_by_the_minute(minutes: float, verdict: str) -> None:
    found = row(logs(errors=4), logs(minutes, errors=8), "Total Errors")
    assert (found.before, found.after, found.change, found.verdict) == ("4", "8", "+4 (+100%)", verdict)


def test_a_single_error_more_is_worse() -> None:
    assert row(logs(errors=0), logs(errors=1), "Total Errors").verdict == "worse"


def test_whose_issues_they_are() -> None:
    found = compare(logs(errors=1, slowEvents=1), logs(errors=2, uncleanCloses=1))
    assert [[one.id for one in some] for some in (found.new, found.gone, found.both)] == [
        ["dropped-socket"],
        ["event-timeout"],
        ["errors"],
    ]


def golden(name: str) -> Logs:
    found = parse(json.dumps(json.loads((GOLDEN / f"{name}.json").read_text())["logs"]).encode(), name)
    assert found is not None
    return found


def test_worse_one_way_is_better_the_other() -> None:
    healthy, wrong = golden("healthy"), golden("everything-wrong")
    there, back = compare(healthy, wrong), compare(wrong, healthy)
    assert len(there.worse) == len(there.rows) == 23
    assert there.better == []
    assert back.worse == []
    assert {one.label for one in back.better} == {one.label for one in there.worse}
    assert [one.id for one in there.new] == [one.id for one in back.gone]
    same = compare(wrong, wrong)
    assert same.worse == same.better == same.new == same.gone == []


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def downloaded(folder: Path, name: str, **changed: Any) -> Path:
    whole = json.loads((GOLDEN / f"{name}.json").read_text())["logs"]
    path = folder / f"perfsuite-logs-{name}.json"
    path.write_text(json.dumps({**whole, **changed}), encoding="utf-8")
    return path


def test_the_command_prints_the_documents_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = downloaded(tmp_path, "everything-wrong")
    assert main(["report", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = json.loads((GOLDEN / "everything-wrong.json").read_text())["report"]
    assert lines[: len(expected)] == expected
    assert lines[len(expected) :] == [str(path.with_suffix(".md")), str(path.with_suffix(".html"))]
    for file in (path.with_suffix(".md"), path.with_suffix(".html")):
        text = file.read_text(encoding="utf-8")
        assert "1835.0ms" in text
        assert "Dropped connection: 1 of the WebSockets closed without a farewell." in text


def test_the_command_compares_several_with_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(downloaded(tmp_path, name)) for name in ("healthy", "everything-wrong", "growth")]
    assert main(["report", *paths, "-f", "terminal", "-f", "md", "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.count(sessions.TITLE_OF_TWO) == 2
    assert "23 of 23 figures got worse, 0 better" in said
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "perfsuite-logs-healthy.md",
        "perfsuite-logs-everything-wrong.md",
        "perfsuite-logs-growth.md",
        "perfsuite-logs-healthy-and-perfsuite-logs-everything-wrong.md",
        "perfsuite-logs-healthy-and-perfsuite-logs-growth.md",
    }


def test_hostile_text_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = {"ended": "\x1b[2J<script>alert(1)</script> | `x`", "url": "<img src=x>", "durationMs": 1}
    path = downloaded(tmp_path, "empty", session=session)
    assert main(["report", str(path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "<script" not in path.with_suffix(".md").read_text(encoding="utf-8")


def test_what_is_wrong_with_logs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = downloaded(tmp_path, "healthy"), downloaded(tmp_path, "empty", version=9)
    assert main(["report", str(bad), str(good), "-f", "terminal"]) == 2
    caught = capsys.readouterr()
    assert "logs of version 9" in caught.err
    assert "Performance Analysis Report" in caught.out, "the others are shown"
    assert main(["report", str(good), "-f", "csv"]) == 2
    assert "--format csv: the logs of a page are reported as md, html, terminal" in capsys.readouterr().err
