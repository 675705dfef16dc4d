"""Tables of text: columns line up, and nothing trails."""

from __future__ import annotations

import pytest

from perfsuite.reports.tables import lines, padded

ROWS = [("name", "n"), ("a", "1,000"), ("longer", "")]


def test_cells_are_as_wide_as_their_column() -> None:
    assert padded(ROWS) == [["name  ", "n    "], ["a     ", "1,000"], ["longer", "     "]]


def test_all_but_the_first_go_right() -> None:
    assert list(lines(ROWS, before="| ", right=True)) == ["| name        n", "| a       1,000", "| longer"]


def test_no_row_is_no_line() -> None:
    assert list(lines([])) == []


def test_rows_of_several_lengths_are_no_table() -> None:
    with pytest.raises(ValueError, match="shorter"):
        padded([("a", "b"), ("c",)])
