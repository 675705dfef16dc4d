"""What commands print on terminals of several widths, on dumb ones and into pipes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from perfsuite.reports.tables import columns, folded
from terminals import PACKAGE, on_terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STEERING = re.compile(r"\x1b\[[0-9]*[AKJ]")
RUN = ("run", "baseline", "--duration", "1s")


def screens(output: str) -> list[str]:
    """Every line that stood on the terminal, those that were drawn over too, without colours and steering."""
    return [part for line in STEERING.sub("", COLOUR.sub("", output)).splitlines() for part in line.split("\r")]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int, tmp_path: Path) -> None:
    for words in (RUN, ("plan",), ("doctor",), ("history",), ("history", "trend")):
        code, output = on_terminal(tmp_path, *words, columns=width)
        assert code in (0, 3) or words == ("doctor",), output
        lines = screens(output)
        assert len(lines) > 1
        assert [line for line in lines if columns(line) > width] == [], words
        assert "Traceback" not in output


def test_a_run_shows_how_far_it_is_and_colours_its_verdict(tmp_path: Path) -> None:
    _, output = on_terminal(tmp_path, *RUN, columns=80)
    assert "\r" in output
    assert re.search(r"baseline 1/1 █*░* +\d+%, .* left", output)
    assert re.search(r"\x1b\[\d+(;1)?m(PASSED|FAILED|UNDECIDED)", output)
    _, output = on_terminal(tmp_path, *RUN, columns=80, variables={"NO_COLOR": "1"})
    assert COLOUR.search(output) is None
    assert "\r" in output


def test_a_dumb_terminal_gets_no_control_codes(tmp_path: Path) -> None:
    _, output = on_terminal(tmp_path, *RUN, columns=80, variables={"TERM": "dumb"})
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", output)
    assert re.search(r"^(PASSED|FAILED|UNDECIDED) ", output, re.MULTILINE)


def test_neither_does_a_pipe_and_its_lines_are_whole(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "XDG_DATA_HOME": str(tmp_path / "data"), "COLUMNS": "40"}
    done = subprocess.run(
        [sys.executable, "-m", "perfsuite", "plan"], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    text = done.stdout.decode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert max(map(len, text.splitlines())) > 80


@pytest.mark.parametrize(
    ("line", "width", "expected"),
    [
        ("short", 40, ["short"]),
        ("  a b c " + "d" * 20, 24, ["  a b c", "      " + "d" * 18, "      dd"]),
        ("x" * 45, 20, ["x" * 20, "    " + "x" * 16, "    " + "x" * 9]),
        ("ab  cd" + " " * 30 + "ef", 20, ["ab  cd", "    ef"]),
        ("\x1b[31mfailed\x1b[0m it is", 20, ["\x1b[31mfailed\x1b[0m it is"]),
        ("語" * 12, 20, ["語" * 10, "    " + "語" * 2]),
        ("", 20, [""]),
    ],
)
def test_lines_are_folded_at_spaces(line: str, width: int, expected: list[str]) -> None:
    assert folded(line, width) == expected
    assert all(columns(COLOUR.sub("", part)) <= width for part in folded(line, width))
