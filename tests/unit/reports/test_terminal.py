"""The last screen: worst first, readable without a terminal, and nothing on it that a server could have drawn."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest

import results_made
from perfsuite.reports import html, markdown, terminal
from perfsuite.result import ErrorCount, MetricResult, PhaseResult, Result


def screen(result: Result, **options: object) -> str:
    return terminal.render(result, **options)  # type: ignore[arg-type]


def test_the_screen_of_a_run() -> None:
    lines = screen(results_made.full(), files=[Path("test-results/metrics-X.html")]).splitlines()
    assert lines[0] == "FAILED  reference   412 sent, 7 failed"
    assert "simulated: language model" in lines[1]
    assert "quick run" in lines[2]
    assert [line.split()[0] for line in lines[3:7]] == ["ttft", "system_stability", "response_time", "memory_growth"]
    assert lines[5].split() == ["response_time", "p95", "2.1", "s", "[1.9–2.6]", "<", "5", "s", "passed"]
    assert "undecided: run 5 min or more" in lines[4]
    assert "passed 2 of 4, 1 undecided, 1 not measurable here (--verbose lists them)" in lines
    assert lines[-1] == "test-results/metrics-X.html"


def test_the_delivered_rate_is_in_the_headline() -> None:
    load = results_made.full().phases[0]
    load = msgspec.structs.replace(load, requested={"rate": 10.0})
    text = screen(msgspec.structs.replace(results_made.full(), phases=[load]))
    assert text.splitlines()[0].endswith("412 sent, 7 failed, 9.9 of 10 requests/s delivered")


def test_what_failed_is_on_the_screen_with_its_first_words() -> None:
    lines = screen(results_made.full()).splitlines()
    assert any(line.startswith("  load errors: 5 timeout: ") for line in lines)
    assert "  load errors: 2 http_5xx: 503" in lines
    load = results_made.full().phases[0]
    kinds = [ErrorCount(kind=f"k{n}", count=n, first=[f"said {n}"]) for n in range(1, 7)]
    many = msgspec.structs.replace(load, errors=kinds, reason="none was answered (k6: said 6)")
    text = screen(msgspec.structs.replace(results_made.full(), phases=[many]))
    assert [line.split()[3] for line in text.splitlines() if " errors: " in line] == ["k6", "k5:", "k4:", "k3:"]
    assert "… and 2 more kinds of errors" in text
    assert "k1: said 1" in screen(msgspec.structs.replace(results_made.full(), phases=[many]), verbose=True)


def test_the_headline_tells_the_warm_up_apart() -> None:
    load = results_made.full().phases[0]
    load = msgspec.structs.replace(load, delivered={**load.delivered, "warmup": 40})
    text = screen(msgspec.structs.replace(results_made.full(), phases=[load]))
    assert text.splitlines()[0].endswith("412 sent and 40 to warm up, 7 failed")


def test_a_warm_up_that_failed_is_not_said_to_have_gone_well() -> None:
    load = results_made.full().phases[0]
    for sent, warmup, lost, failed, told in (
        (0, 2, 2, 0, "0 sent and 2 to warm up, of which 2 failed; 0 failed"),
        (412, 40, 3, 7, "412 sent and 40 to warm up, of which 3 failed; 7 failed"),
        (0, 2, 0, 0, "0 sent and 2 to warm up, 0 failed"),
    ):
        came = {"requests": sent, "warmup": warmup, "warmup_failed": lost, "failed": failed}
        result = msgspec.structs.replace(
            results_made.full(), phases=[msgspec.structs.replace(load, requested={}, delivered=came)]
        )
        assert screen(result).splitlines()[0].endswith(f"   {told}")
        everywhere = told.replace(" sent", " requests sent", 1)
        assert everywhere in markdown.render(result)
        assert everywhere in html.render(result)


def test_verbose_lists_what_was_not_measured_and_why() -> None:
    assert "cache_hit_rate" not in screen(results_made.full())
    text = screen(results_made.full(), verbose=True, width=200)
    assert "not measured: the target does not show its cache" in text
    assert "(--verbose" not in text


def test_metrics_of_several_phases_carry_their_phase() -> None:
    result = results_made.full()
    other = msgspec.structs.replace(result.phases[0], name="token")
    text = screen(msgspec.structs.replace(result, phases=[result.phases[0], other]))
    assert "load.ttft p95" in text
    assert "token.ttft p95" in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_narrow_screen_keeps_the_verdicts(width: int) -> None:
    text = screen(results_made.full(), width=width)
    rows = [line for line in text.splitlines() if line.startswith("  ttft")]
    assert "failed" in rows[0]
    wide = max(len(line) for line in text.splitlines() if line.startswith(("  ttft", "  system", "      ")))
    assert wide <= max(width, 70)
    assert ("[1.9–2.6]" in text) == (width >= 80)


def test_colour_only_where_it_is_wanted() -> None:
    assert "\x1b" not in screen(results_made.full())
    assert "\x1b[31;1mFAILED\x1b[0m" in screen(results_made.full(), colour=True)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_colour_without_a_terminal_or_against_the_users_will(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    on_terminal, piped, refused = Screen(), io.StringIO(), Screen()
    terminal.write(results_made.full(), None, on_terminal)
    terminal.write(results_made.full(), None, piped)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.write(results_made.full(), None, refused)
    assert "\x1b" in on_terminal.getvalue()
    assert "\x1b" not in piped.getvalue()
    assert "\x1b" not in refused.getvalue()


def test_an_ascii_stream_gets_escapes_instead_of_an_error() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    terminal.write(results_made.full(), None, stream)
    stream.flush()
    assert b"[1.9\\u20132.6]" in raw.getvalue()


def test_a_hostile_target_draws_nothing() -> None:
    result = results_made.empty()
    run = msgspec.structs.replace(result.run, target=results_made.HOSTILE, error=results_made.HOSTILE)
    text = screen(msgspec.structs.replace(result, run=run))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "ended by an error" in text


def test_a_run_with_nothing_measured_says_so() -> None:
    assert "nothing was measured against a target" in screen(results_made.empty())


def test_the_knee_that_a_search_found_is_on_the_screen() -> None:
    details = {"concurrency": 31, "server_cpu_percent": 96.8, "levels": []}
    found = MetricResult(name="max_rate", unit="1/s", kind="gauge", value=13.9, interval=(12.0, 16.0), details=details)

    def lines(**changes: object) -> list[str]:
        phase = PhaseResult(
            name="load",
            verdict="passed",
            metrics=[msgspec.structs.replace(found, **changes)],  # type: ignore[arg-type]
        )
        result = Result(run=results_made.run(), environment=results_made.environment(), phases=[phase])
        return screen(result).splitlines()

    assert "  knee  about 14 requests/s [12–16]; 31 in flight; server CPU 97 %" in lines()
    assert "  knee  about 14 requests/s [12–∞]" in lines(interval=(12.0, None), details={})
    short = lines(details={"resolution": 0.1, "enough_s": 210.0})
    assert "  knee  about 14 requests/s [12–16]; within 10 % with --duration 210s or so" in short
    assert not any("knee" in line for line in lines(value=None, interval=None, verdict="not measured"))
