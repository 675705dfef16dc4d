"""A session's logs in Python: the golden reports, which the page gives too, and logs that are not as they should be."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.errors import UsageError
from perfsuite.realtime.analysis import figures, issues, report
from perfsuite.realtime.logs import FORMAT, Logs, parse, read
from perfsuite.realtime.rules import rules

GOLDEN = sorted((Path(__file__).parents[2] / "golden/realtime").glob("*.json"))
BARE = {"format": FORMAT, "version": 1}


def logs(**more: Any) -> Logs:
    found = parse(json.dumps({**BARE, **more}).encode(), "it")
    assert found is not None
    return found


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_reports_are_the_same_in_python(path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    found = parse(json.dumps(golden["logs"]).encode(), "it")
    assert found is not None
    assert report(found).split("\n") == golden["report"]


def test_every_golden_file_is_there() -> None:
    assert len(GOLDEN) >= 5


def test_rules_name_figures_that_are_made() -> None:
    found = figures(logs())
    assert {line.figure for line in rules().metrics} | {rule.figure for rule in rules().issues} <= found.keys()


def test_logs_with_nothing_in_them_have_measured_nothing() -> None:
    lines = report(logs()).split("\n")
    assert lines[:4] == ["Performance Analysis Report", "", "", "Metrics:"]
    assert [line.rpartition(": ")[2] for line in lines[4:14]] == ["not measured"] * 10
    assert lines[14:] == ["", "Issues Detected:", "- None", "", "Recommendations:", "- None"]


@pytest.mark.parametrize(
    ("value", "over"),
    [(None, True), (10**9, False), (1, True)],
    ids=["the rules' limit", "a higher one", "a lower one"],
)
def test_a_limit_is_the_one_that_was_in_force(value: int | None, over: bool) -> None:
    found = logs(totals={"peaks": {"audioChunksCount": 101}}, thresholds={"audioChunks": value})
    assert [one.id for one in issues(found, figures(found))] == (["audio-accumulation"] if over else [])


@pytest.mark.parametrize(("seconds", "found"), [(0.4, []), (9.999, []), (10.0, ["long-tasks"]), (60.0, ["long-tasks"])])
def test_a_page_seen_for_a_blink_is_not_called_blocked(seconds: float, found: list[str]) -> None:
    """On a busy machine loading alone is long tasks for all of a short session."""
    lasted = seconds * 1e3
    seen = logs(session={"durationMs": lasted}, totals={"longTaskMs": 0.9 * lasted})
    assert [one.id for one in issues(seen, figures(seen))] == found


def test_at_its_limit_nothing_is_over_it() -> None:
    found = logs(totals={"peaks": {"audioChunksCount": 100}})
    assert issues(found, figures(found)) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"version": 2}, "logs of version 2; this perfsuite reads 1"),
        ({"version": True}, "logs of version True"),
        ({"totals": []}, r"\$.totals"),
        ({"totals": {"errors": "many"}}, r"\$.totals.errors"),
        ({"totals": {"errors": -1}}, r">= 0.*\$.totals.errors"),
        ({"totals": {"processingMs": {"sum": 1e300}}}, r"\$.totals.processingMs.sum"),
        ({"samples": [{"usedJSHeapSize": {}}]}, r"\$.samples\[0\]"),
        ({"session": {"ended": 3}}, r"\$.session.ended"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(more: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        logs(**more)
    assert str(caught.value).startswith("it ")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"nonsense", b'{"format": "other"}', b'{"format": 3}', b"\xff\xfe", b"[" * 100_000,
     json.dumps({**BARE, "session": {}}).encode()[:-4]],
)  # fmt: skip
def test_what_is_something_else_is_left_to_others(data: bytes) -> None:
    assert parse(data, "it") is None


def test_files_that_are_no_logs(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert read(tmp_path / "nobody") is None
    (tmp_path / "bare.json").write_text(json.dumps(BARE), encoding="utf-8")
    assert isinstance(read(tmp_path / "bare.json"), Logs)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["session", "thresholds", "totals", "messages", "audio", "samples", "cost", "events"]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5))
def test_whatever_is_in_logs_gives_a_report_or_says_what_is_wrong(more: dict[str, Any]) -> None:
    try:
        found = parse(json.dumps({**BARE, **more}, allow_nan=False).encode(), "it")
    except (UsageError, ValueError):
        return
    assert found is not None
    assert report(found).startswith("Performance Analysis Report\n")


@settings(deadline=None)
@given(st.floats(min_value=0, max_value=1e12), st.integers(min_value=1, max_value=1000))
def test_figures_are_written_with_one_decimal(total: float, count: int) -> None:
    found = report(logs(totals={"processingMs": {"count": count, "sum": total, "max": total}}))
    written = re.search(r"Average Processing Time: (\d+\.\d)ms", found)
    assert written is not None
    assert float(written[1]) == pytest.approx(total / count, abs=0.051)


# ── beside monitor.js ─────────────────────────────────────────────────────────────────────────────────────────────────

ROOM = Path(__file__).parents[3] / "python/perfsuite/realtime"


def made_up(rng: random.Random) -> dict[str, Any]:
    """Logs as the monitor writes them, with figures about everywhere, at limits and at halves too."""

    def measured(most: float) -> float | None:
        return rng.choice(
            [None, 0, rng.uniform(0, most), round(rng.uniform(0, most)), round(rng.uniform(0, most)) / 20]
        )

    def counted(most: float) -> float:
        return measured(most) or 0

    def spread(most: float) -> dict[str, float]:
        return {"count": rng.choice([0, 1, 3, 7]), "sum": counted(most), "max": counted(most)}

    limits = rules().thresholds
    length = rng.choice([0, 29, 30, 31, 200])
    rise = [rng.choice([0.0, rng.uniform(0, 3)]) for _ in range(4)]
    lasted = rng.choice([counted(1e6), counted(2e4), rules().sharesFromMs])
    return {
        **BARE,
        "session": {"id": "x", "started": "s", "ended": "e", "durationMs": lasted, "url": "", "userAgent": ""},
        "thresholds": {name: counted(2 * one.value) for name, one in limits.items() if rng.random() < 0.3},
        "totals": {
            "processingMs": spread(5_000),
            "audioGapMs": spread(9_000),
            "timeToFirstResponseMs": spread(9_000),
            **{name: rng.choice([0, 0, 1, 12]) for name in ("interruptions", "errors", "slowEvents")},
            **{name: rng.choice([0, 0, 1, 12]) for name in ("responseTimeouts", "uncleanCloses")},
            "longTaskMs": counted(1e5),
            "peaks": {
                "audioChunksCount": round(counted(200)),
                "wsBufferedAmount": round(counted(3e6)),
                "eventQueueSize": round(counted(99)),
                "usedJSHeapSize": measured(1e9),
            },
        },
        "messages": [
            {"direction": rng.choice(["received", "sent"]), "processingMs": measured(30)}
            for _ in range(rng.randrange(40))
        ],
        "audio": [{"processingMs": measured(30)} for _ in range(rng.randrange(20))],
        "samples": [
            {
                "audioChunksCount": round(rise[0] * at),
                "wsBufferedAmount": round(rise[1] * at * 9_999),
                "eventQueueSize": round(counted(9)),
                "usedJSHeapSize": rng.choice([None, 1e6 + rise[2] * at * 1e6]),
                "processingMs": rng.choice([None, rise[3] * at + rng.random()]),
            }
            for at in range(length)
        ],
        "cost": {"ms": 1, "share": counted(0.03), "calls": 1},
    }


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node: apt-get install nodejs")
def test_python_and_javascript_say_the_same_of_any_logs(tmp_path: Path) -> None:
    """As many as there are rules to meet; the browser's tests hold the golden ones in a page."""
    rng = random.Random(5)
    every = [made_up(rng) for _ in range(400)]
    (tmp_path / "logs.json").write_text(json.dumps(every), encoding="utf-8")
    script = tmp_path / "report.js"
    script.write_text(
        f"'use strict'; const RULES = {(ROOM / 'rules.json').read_text(encoding='utf-8')};\n"
        f"{(ROOM / 'parts/analysis.js').read_text(encoding='utf-8')}\n"
        "const every = JSON.parse(require('fs').readFileSync(process.argv[2]));\n"
        "console.log(JSON.stringify(every.map(reportOf)));\n",
        encoding="utf-8",
    )
    done = subprocess.run(["node", script, tmp_path / "logs.json"], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    ours = [report(logs(**one)) for one in every]
    assert ours == theirs
    seen = {issue.id for one in every for issue in issues(logs(**one), figures(logs(**one)))}
    assert seen == {rule.id for rule in rules().issues}, "each rule was met"
