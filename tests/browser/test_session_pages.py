"""The pages that ``report`` makes of the browser monitor's logs, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from browsing import NewPage, axe
from perfsuite.realtime.analysis import report
from perfsuite.realtime.comparison import compare
from perfsuite.realtime.logs import Logs, parse
from perfsuite.reports import sessions

GOLDEN = Path(__file__).parents[1] / "golden/realtime"


def golden(name: str) -> Logs:
    found = parse(json.dumps(json.loads((GOLDEN / f"{name}.json").read_text())["logs"]).encode(), name)
    assert found is not None
    return found


@pytest.mark.parametrize("dark", [False, True])
def test_pages_of_one_session_and_of_two(new_page: NewPage, tmp_path: Path, dark: bool) -> None:
    healthy, wrong = golden("healthy"), golden("everything-wrong")
    compared = compare(healthy, wrong)
    pages = {"one": sessions.page(wrong), "two": sessions.page_of_two(compared, ("a.json", "b.json"))}
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
        visit = new_page(dark=dark)
        visit.page.goto((tmp_path / f"{name}.html").as_uri())
        assert axe(visit.page) == []
        assert visit.complaints == []
        rows = visit.page.locator("tbody tr").all_inner_texts()
        if name == "one":
            lines = report(wrong).split("\n")
            assert [row.replace("\t", ": ") for row in rows] == [line.removeprefix("- ") for line in lines[4:14]]
        else:
            assert [row.rstrip().split("\t") for row in rows] == [list(row) for row in compared.rows]
