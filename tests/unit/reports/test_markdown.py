"""The Markdown report says everything that the issue asks for, and foreign text stays text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import results_made
from perfsuite.reports.markdown import escape, render
from perfsuite.result import load

GOLDEN = Path(__file__).parents[2] / "golden"


def test_the_report_of_a_run() -> None:
    text = render(results_made.full())
    for part in (
        "# FAILED: reference",
        "This was a quick run",
        "**Simulated:** language model",
        "| Load | **failed** |",
        "**load: ttft p95** is > 60 s, wanted < 500 ms: 7 of 100 requests failed",
        "Look at the 5 time-outs. *(from load.error_rate)*",
        "| response_time p95 | 2.1 s | [1.9–2.6] | < 5 s | passed | 412 (worth 212) |",
        "| system_stability | 100 % | [55–100] | >= 99 % | undecided: run 5 min or more | 5 |",
        "- cache_hit_rate: the target does not show its cache",
        "| processor | Test CPU, 2 cores |",
        "Events:\n\n- 2 s: ",
        "exit code 3",
    ):
        assert part in text, part
    assert text.index("## Failures") < text.index("## Causes and cures") < text.index("## Load: failed")


def test_every_table_row_has_the_columns_of_its_head() -> None:
    columns = None
    for line in render(results_made.full()).splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        found = len(re.findall(r"(?<!\\)\|", line))
        columns = columns or found
        assert found == columns, line


def test_hostile_text_stays_in_its_cell() -> None:
    text = render(results_made.full())
    assert "<script>" not in text
    assert r"&lt;script>alert('x')&lt;/script> \| \`code\` \*\*b\*\*" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("memory_growth", "memory_growth"),
        ("_x_", r"\_x\_"),
        ("< 500 ms", "< 500 ms"),
        ("<b>", "&lt;b>"),
        ("[1.9–2.6]", "[1.9–2.6]"),
        ("[a](javascript:b)", r"[a\](javascript:b)"),
        ("# a", r"\# a"),
        ("a & b", "a &amp; b"),
        ("a\n| b", r"a \| b"),
    ],
)
def test_only_markup_is_escaped(given: str, expected: str) -> None:
    assert escape(given) == expected


@given(st.text())
def test_escaped_text_has_no_cell_border_tag_or_line_end(text: str) -> None:
    found = escape(text)
    assert "\n" not in found
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", found)
    assert not re.search(r"<[A-Za-z/!?]", found)


def test_a_run_with_nothing_measured_says_so() -> None:
    assert "Nothing was measured" in render(results_made.empty())


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("result-v1-*.json")), ids=lambda path: path.stem)
def test_golden_results_are_rendered(path: Path) -> None:
    assert render(load(path)).startswith("# ")
