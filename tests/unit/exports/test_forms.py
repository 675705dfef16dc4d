"""Rows in each form read back as what they were."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from perfsuite.errors import UsageError
from perfsuite.exports.forms import FORMS, form, form_of, write_rows

ROWS = [
    {"name": 'a,"b"\nc', "n": 1, "x": 0.1, "good": True, "none": None},
    {"name": "=1+1", "n": -2, "x": -1e300, "good": False, "none": None},
]


def written(name: str, rows: list[dict[str, object]]) -> str:
    out = io.StringIO()
    write_rows(rows, FORMS[name], out)
    return out.getvalue()


def test_csv() -> None:
    found = list(csv.DictReader(io.StringIO(written("csv", ROWS), newline="")))
    assert [row["name"] for row in found] == [ROWS[0]["name"], "'=1+1"], "a formula is text"
    assert [float(row["x"]) for row in found] == [0.1, -1e300]
    assert [row["n"] for row in found] == ["1", "-2"], "a number below zero is no formula"
    assert [row["good"] for row in found] == ["1", "0"]
    assert {row["none"] for row in found} == {""}


def test_json_lines() -> None:
    lines = written("jsonl", ROWS).splitlines()
    assert [json.loads(line) for line in lines] == ROWS


@pytest.mark.parametrize("name", FORMS)
def test_no_row_is_no_text(name: str) -> None:
    assert written(name, []) == ""


def test_the_ending_chooses_the_form() -> None:
    assert form_of(Path("rows.CSV")) is FORMS["csv"]
    for name in ("rows.jsonl", "rows.ndjson", "rows", "rows.txt"):
        assert form_of(Path(name)) is FORMS["jsonl"]
    endings = [ending for one in FORMS.values() for ending in one.suffixes]
    assert len(endings) == len(set(endings))


def test_an_unknown_form_is_told() -> None:
    with pytest.raises(UsageError, match="unknown format 'cvs' in --format; did you mean csv"):
        form("cvs", "--format")
