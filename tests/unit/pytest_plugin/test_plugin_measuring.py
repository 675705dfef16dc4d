"""perf, perf_async, the marker slo and what the terminal shows, each in a pytest of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugged import run

MEASURING = """
import pytest

def samples(perf, *values):
    for value in values:
        perf.record(value)

def test_met(perf):
    assert perf.time(sorted, [2, 1]) == [1, 2]
    perf.stopwatch.start()
    perf.stopwatch.lap()
    perf.stopwatch.stop()
    assert perf.histogram.count == 3
    (found,) = perf.check(max_s=3600)
    assert found.verdict == "passed"

def test_missed(perf):
    samples(perf, *[10.0] * 300, *[60.0] * 20)
    perf.check(p99_ms=50, mean_ms=3600)

def test_undecided(perf):
    samples(perf, *[10.0] * 100)
    (found,) = perf.check(p99_ms=50)
    assert found.verdict == "undecided"

def test_in_other_units(perf):
    samples(perf, *[10.0] * 300)
    assert [one.verdict for one in perf.check(p50_s=0.011, p50_us=10_100, p50_ns=10_100_000)] == ["passed"] * 3

def test_wrong_keys(perf):
    samples(perf, 1.0)
    perf.check(p98ms=1, median_ms=2)

def test_wrong_values(perf):
    samples(perf, 1.0)
    perf.check(p99_ms="50", mean_ms=True, max_ms=-1, min_ms=float("nan"))

def test_nothing(perf):
    perf.check(p99_ms=1)

def test_no_criterion(perf):
    samples(perf, 1.0)
    perf.check()

def test_a_failure_is_not_recorded(perf):
    with pytest.raises(ZeroDivisionError):
        perf.time(lambda: 1 / 0)
    assert perf.histogram.count == 0

async def answer():
    return 1

def test_a_coroutine_function(perf):
    perf.time(answer)

def test_a_coroutine(perf):
    perf.time(lambda: answer())

@pytest.mark.slo(p99_ms=50)
class TestMarked:
    def test_by_the_class(self, perf):
        samples(perf, *[60.0] * 20)

    @pytest.mark.slo(p99_ms=70, p50_ms=61)
    def test_by_the_nearest(self, perf):
        samples(perf, *[60.0] * 300)

    def test_without_a_sample(self, perf):
        pass

@pytest.mark.slo(p99_ms=50, p9_ms=3)
def test_wrong_marker(perf):
    raise AssertionError("it runs")

@pytest.mark.slo(50)
def test_marker_without_a_name(perf):
    raise AssertionError("it runs")
"""


def test_criteria(tmp_path: Path) -> None:
    done = run(tmp_path, MEASURING, "--strict-markers", "-W", "error")
    assert done.code == 1
    assert [done.of(name) for name in ("test_met", "test_undecided", "test_in_other_units")] == ["PASSED"] * 3
    assert done.of("test_missed") == "FAILED"
    assert "p99 60" in done.why("test_missed")
    assert "< 50 ms: failed (320 samples)" in done.why("test_missed")
    assert "mean" not in done.why("test_missed")
    assert "take 300 samples or more" in done.out
    assert "test_undecided: p99 10 ms" in done.out.partition("= perfsuite =")[2]
    assert done.of("test_a_failure_is_not_recorded") == "PASSED"
    assert done.of("test_wrong_keys") == "FAILED"
    assert "'p98ms'" in done.out
    assert "'median_ms'" in done.out
    assert "did you mean p99_ms" in done.out
    for wrong in ("p99_ms='50'", "mean_ms=True", "max_ms=-1", "min_ms=nan"):
        assert wrong in done.out
    assert "nothing was measured" in done.why("test_nothing")
    assert "no criterion" in done.why("test_no_criterion")
    assert "would time nothing" in done.why("test_a_coroutine_function")
    assert "timed nothing" in done.why("test_a_coroutine")
    assert "< 50 ms: failed (20 samples)" in done.why("TestMarked::test_by_the_class")
    assert done.of("TestMarked::test_by_the_nearest") == "PASSED"
    assert "nothing was measured" in done.why("TestMarked::test_without_a_sample")
    assert done.of("test_wrong_marker") == "ERROR"
    assert "'p9_ms'" in done.why("test_wrong_marker")
    assert done.of("test_marker_without_a_name") == "ERROR"
    assert "it runs" not in "".join(why for _, why in done.outcomes.values())


UNDECIDED = """
import pytest

def test_checked(perf):
    perf.record(1.0)
    perf.check(p99_ms=50)

@pytest.mark.slo(p99_ms=50)
def test_marked(perf):
    perf.record(1.0)

def test_decided(perf):
    perf.record(1.0)
    perf.check(max_ms=2)
"""


@pytest.mark.parametrize(
    ("option", "ini", "outcome"),
    [
        ((), "", "PASSED"),
        ((), "perfsuite_undecided = fail", "FAILED"),
        (("--perfsuite-undecided", "pass"), "perfsuite_undecided = fail", "PASSED"),
    ],
    ids=["by default", "by the ini file", "the option is stronger"],
)
def test_what_becomes_of_the_undecided(option: tuple[str, ...], ini: str, outcome: str, tmp_path: Path) -> None:
    done = run(tmp_path, UNDECIDED, *option, ini=ini)
    assert [done.of(name) for name in ("test_checked", "test_marked")] == [outcome] * 2
    assert done.of("test_decided") == "PASSED"


@pytest.mark.parametrize(("columns", "encoding"), [(40, "ascii"), (80, "utf-8")])
def test_what_is_undecided_is_said_on_any_terminal(columns: int, encoding: str, tmp_path: Path) -> None:
    environment = {"PYTHONUTF8": "", "PYTHONIOENCODING": encoding}
    done = run(tmp_path, UNDECIDED, "-q", columns=columns, environment=environment)
    told = done.out.partition(" perfsuite =")[2].partition("short test summary")[0].splitlines()[1:-1]
    assert max(map(len, told)) <= columns
    assert " ".join(" ".join(told).split()).count("undecided: take 299 samples or more") == 2
    assert "\\u" not in "".join(told)


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, UNDECIDED, ini="perfsuite_undecided = maybe")
    assert done.code == 4
    assert "perfsuite_undecided = maybe: write pass or fail" in done.out


SLOW = """
def test_slow(perf):
    for value in range(1, 400):
        perf.record(value * 37 % 400 / 10)
    perf.check(p50_ms=1)
"""
SECTION = "perfsuite: what was measured"


@pytest.mark.parametrize(("columns", "encoding"), [(40, "utf-8"), (80, "ascii"), (200, "utf-8")])
def test_a_failure_shows_the_distribution(columns: int, encoding: str, tmp_path: Path) -> None:
    done = run(tmp_path, SLOW, columns=columns, environment={"PYTHONUTF8": "", "PYTHONIOENCODING": encoding})
    shown = [line for line in done.out.partition(SECTION)[2].partition("====")[0].splitlines()[1:] if line.strip()]
    assert max(map(len, shown)) <= columns
    assert "399 samples" in shown[0]
    text = "\n".join(shown)
    assert all(f"{name} " in text for name in ("mean", "p50", "p95", "p99", "max"))
    bars = [line for line in shown if line.startswith(("≤", "<"))]
    assert len(bars) == 10
    assert any("1 ms limit" in line for line in shown)
    assert text.isascii() == (encoding == "ascii")
    assert sum(("#" if encoding == "ascii" else "█") in bar for bar in bars) >= 3


def test_a_test_that_passes_shows_none(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_fast(perf):\n    perf.record(1)\n    perf.check(max_ms=2)\n")
    assert done.code == 0
    assert SECTION not in done.out


FIXTURES = """
import pytest

def test_footprint(memory_footprint):
    with memory_footprint() as held:
        kept = [bytearray(1000) for _ in range(1000)]
        gone = bytearray(5_000_000)
        del gone
    assert 1_000_000 < held.bytes < 1_500_000
    assert held.peak_bytes > 5_000_000
    held.check("2MB", peak="10MB")

def test_heavy(memory_footprint):
    with memory_footprint() as held:
        kept = bytearray(3_000_000)
    held.check("1MB")

def test_leaks(leak_check):
    kept = []
    leak_check(lambda: kept.append(bytearray(20_000)), iterations=400)

def test_sound(leak_check):
    assert leak_check(lambda: bytearray(20_000), iterations=400, allowed="4KiB").verdict != "failed"

async def nothing():
    pass

def test_leaks_of_a_coroutine_function(leak_check):
    leak_check(nothing)

def test_too_few(leak_check):
    leak_check(list, iterations=3)

def test_limiter(rate_limiter):
    limiter = rate_limiter(1, 2)
    assert [limiter.allow("a") for _ in range(3)] == [True, True, False]
    assert limiter.allow("b")
    rate_limiter.advance(1.0)
    assert [limiter.allow("a") for _ in range(2)] == [True, False]
    bucket = rate_limiter.bucket(2)
    assert [bucket.try_acquire() for _ in range(3)] == [True, True, False]
    with pytest.raises(ValueError, match="time goes by"):
        rate_limiter.advance(-1)

@pytest.mark.slo(max_s=3600)
def test_target(chat_target):
    assert chat_target.name == "reference"
    answer = chat_target.ask("My name is Ada.")
    assert answer.text
    assert 0 <= answer.ttft_ms <= answer.response_time_ms
    chat_target.ask("And on it goes.")
    assert chat_target.response_time.count == chat_target.ttft.count == 2
"""


def test_the_other_fixtures(tmp_path: Path) -> None:
    done = run(tmp_path, FIXTURES, "-W", "error")
    failed = {name for name, (outcome, _) in done.outcomes.items() if outcome != "PASSED"}
    assert failed == {"test_heavy", "test_leaks", "test_leaks_of_a_coroutine_function", "test_too_few"}, done.out
    assert "holds 2.86 MiB, allowed are 1 MB" in done.why("test_heavy")
    assert "leaks 19" in done.why("test_leaks")
    assert "allowed are 102.4 B" in done.why("test_leaks")
    assert "run nothing of it" in done.why("test_leaks_of_a_coroutine_function")
    assert "too few" in done.why("test_too_few")


TARGETS = """
import pytest

def test_failure(chat_target):
    with pytest.raises(ValueError, match="no model today"):
        chat_target.ask("hello")
    assert chat_target.samples().failed == 1
"""


def test_a_target_by_its_option(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def answer(messages):\n    raise ValueError('no model today')\n")
    done = run(tmp_path, TARGETS)
    assert done.code == 1, done.out  # the reference answers: the control
    (tmp_path / "conftest.py").write_text("import sys\nsys.path.insert(0, '.')\n")
    done = run(tmp_path, TARGETS, "--perfsuite-target", "python:shop:answer")
    assert done.code == 0, done.out
    done = run(tmp_path, TARGETS, ini="perfsuite_target = python:shop:answer")
    assert done.code == 0, done.out
