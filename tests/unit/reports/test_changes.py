"""Changes on the screen, in a pull request, and for a CI server."""

from __future__ import annotations

from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import msgspec
import pytest

from perfsuite.analysis.judging import Judgement, judge
from perfsuite.analysis.regression import STANDING, Verdict
from perfsuite.cli.detect import INCONCLUSIVE, REGRESSED, code_of
from perfsuite.reports import changes, junit
from results_made import HOSTILE, full
from runs_made import runs, series


def judged(factor: float = 1.15, **more: float) -> Judgement:
    after = [factor * x for x in series(10, seed=2)]
    return judge("load", runs(series(10, seed=1)), runs(after, first=50, **more), against="baselines/load.json")


def test_the_screen_names_the_figure_and_how_sure_it_is() -> None:
    text = "\n".join(changes.lines([judged()]))
    assert text.startswith("REGRESSED  load   against baselines/load.json")
    row = next(line for line in text.splitlines() if "response_time p50" in line)
    assert "regressed (warning)" in row
    assert "99.8 ms" in row
    assert "+15." in row
    assert "p99" not in text
    assert "p99" in "\n".join(changes.lines([judged()], verbose=True))


def test_colour_is_for_terminals() -> None:
    assert "\x1b" not in "\n".join(changes.lines([judged()]))
    assert "\x1b[31;1mREGRESSED" in "\n".join(changes.lines([judged()], colour=True))


def test_every_verdict_has_a_mark_and_a_colour() -> None:
    assert set(changes.LOOKS) == set(get_args(Verdict))
    for verdict, (mark, colour) in changes.LOOKS.items():
        alone = Judgement(benchmark="load", verdict=verdict, against="baselines/load.json")
        assert f"### {mark} load: {verdict}\n" in changes.markdown("detect", [alone])
        unpainted, painted = ("\n".join(changes.lines([alone], colour=coloured)) for coloured in (False, True))
        assert painted == unpainted.replace(verdict.upper(), f"\x1b[{colour}m{verdict.upper()}\x1b[0m")


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_what_is_open_fails_only_where_that_counts(verdict: Verdict) -> None:
    whole = judged()
    change = msgspec.structs.replace(whole.gating[0], verdict=verdict)
    alone = msgspec.structs.replace(whole, verdict=verdict, changes=[change])
    for strict in (False, True):
        code = REGRESSED if verdict == "regressed" else INCONCLUSIVE if strict and STANDING[verdict].open else 0
        assert code_of([alone], strict=strict) == code
        (outcome,) = cases(junit.of_judgements([alone], strict=strict)).values()
        assert (outcome == "failure") is (code != 0)


def test_the_summary_has_what_decides_and_folds_the_rest() -> None:
    text = changes.markdown("perfsuite ab", [judged()], ["10 pairs"])
    assert text.startswith("## perfsuite ab\n")
    before, _, folded = text.partition("<details>")
    assert "response_time p50" in before
    assert "response_time p99" not in before
    assert "response_time p99" in folded
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 9, line


def test_a_name_cannot_break_the_table() -> None:
    hostile = Judgement(benchmark=HOSTILE, verdict="ok", against=HOSTILE, notes=[HOSTILE])
    text = changes.markdown(HOSTILE, [hostile], [HOSTILE])
    assert "<script>" not in text
    assert "\x1b" not in text


def test_the_step_summary_is_added_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(changes.STEP_SUMMARY, raising=False)
    assert changes.append_step_summary("text") is None
    page = tmp_path / "summary.md"
    page.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv(changes.STEP_SUMMARY, str(page))
    assert changes.append_step_summary("after") == page
    assert page.read_text(encoding="utf-8") == "before\nafter\n"


def cases(data: bytes) -> dict[str, str]:
    """Outcome by name."""
    root = ElementTree.fromstring(data)
    assert root.tag == "testsuites"
    found = {}
    for suite in root:
        own = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(own)
        assert int(suite.get("failures", "")) == sum(case.find("failure") is not None for case in own)
        for case in own:
            found[f"{suite.get('name')} {case.get('name')}"] = case[0].tag
    return found


def test_junit_of_changes() -> None:
    found = cases(junit.of_judgements([judged()]))
    assert found["load response_time p50"] == "failure"
    assert found["load memory_usage max"] == "system-out"
    assert set(cases(junit.of_judgements([judged(1.0)])).values()) == {"system-out"}


def test_junit_of_what_could_not_be_compared_stands_behind_what_could() -> None:
    found = cases(junit.of_judgements([judged(1.0)], error="no\x00 baseline"))
    assert found.pop("comparison comparison") == "error"
    assert set(found.values()) == {"system-out"}


def test_junit_of_what_stays_open_fails_only_when_that_counts() -> None:
    open_one = judge("load", runs([100.0]), runs([200.0], first=1), against="b")
    assert set(cases(junit.of_judgements([open_one])).values()) == {"system-out"}
    assert set(cases(junit.of_judgements([open_one], strict=True)).values()) == {"failure"}
    itself = judge("load", runs([100.0]), runs([100.0]), against="b")
    assert cases(junit.of_judgements([itself])) == {"load comparison": "skipped"}


def test_junit_of_a_run() -> None:
    found = cases(junit.of_result(full()))
    assert found["load response_time p95"] == "system-out"
    assert found["load ttft p95"] == "failure"
    assert found["load system_stability"] == "system-out"
    assert found["load cache_hit_rate"] == "skipped"
    assert found["compression phase"] == "error"
    strict = cases(junit.of_result(full(), strict=True))
    assert strict["load system_stability"] == "failure"
    assert strict["load cache_hit_rate"] == "failure"


def test_what_a_few_wild_runs_could_have_seen_is_not_spelled_out() -> None:
    wild = judge("load", runs([1.0, 90.0, 3000.0]), runs([2.0, 70.0, 9000.0], first=9), against="b")
    text = "\n".join(changes.lines([wild]))
    assert "> 1000 %" in text
    assert "> +1000 %" in text
    assert max(map(len, text.splitlines())) < 200
