"""The chat-loop guide's tests as phases: a sound loop passes them, one that leaks, stalls or is slow fails.

Each kind of wrong is a class or a function here, named as a target; the sound ones beside them are the controls.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import perfsuite
from perfsuite import ChatLoop, Result
from perfsuite.cli import main
from perfsuite.evidence import NotMeasured
from perfsuite.result import MetricResult, parse
from perfsuite.suites.chatloop.memory import evidence
from perfsuite.suites.chatloop.sizes import Time

HERE = "test_chat_loop"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFSUITE_HISTORY", "off")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")


def answer(messages: list[dict[str, Any]]) -> Any:
    return "A fine answer."


def extension(messages: list[dict[str, Any]]) -> str:
    """An extension in C that leaks: no object of Python's stays."""
    ctypes.memset(allocate(2048), 1, 2048)
    return "A fine answer."


allocate = ctypes.CDLL(None).malloc
allocate.restype = ctypes.c_void_p
allocate.argtypes = [ctypes.c_size_t]


class Sound(ChatLoop):
    def __init__(self) -> None:
        super().__init__({"max_history_pairs": 20, "show_token_usage": False}, model=answer)


class Slow(Sound):
    def _sanitize_content(self, text: str) -> str:
        time.sleep(0.003)
        return super()._sanitize_content(text)


class Broken(Sound):
    def _sanitize_content(self, text: str) -> str:
        raise OSError("no room")


class Unwashed(Sound):
    def _sanitize_content(self, text: str) -> str:
        return text


class Hoarding(Sound):
    """Never trims."""

    def _should_trim_memory(self) -> bool:
        return False

    def _must_trim(self) -> bool:
        return False

    def _trim_conversation_history_incremental(self) -> Any:
        return None


class Leaking(Sound):
    kept: list[bytearray] = []  # noqa: RUF012

    def _inject_context(self, user_input: str) -> str:
        self.kept.append(bytearray(1024))
        return super()._inject_context(user_input)


class Forgetful(Sound):
    """Fails a turn now and then."""

    def _validate_input(self, user_input: str) -> str:
        if self.turns % 7 == 3:
            self.turns += 1
            raise RuntimeError("on purpose")
        return super()._validate_input(user_input)


class Full(Sound):
    """Every turn fails, with an error of the system's."""

    def _inject_context(self, user_input: str) -> str:
        raise OSError("the disk is full")


class Awaiting(ChatLoop):
    def __init__(self) -> None:
        async def model(messages: list[dict[str, Any]]) -> str:
            return "An async answer."

        super().__init__({"max_history_pairs": 20, "show_token_usage": False}, model=model)


class NotALoop:
    pass


def stalls(messages: list[dict[str, Any]]) -> Iterator[str]:
    time.sleep(1.5)
    yield "late"


def sound(messages: list[dict[str, Any]]) -> str:
    return "An answer."


KEPT: list[bytearray] = []


def leaking(messages: list[dict[str, Any]]) -> str:
    KEPT.append(bytearray(1024))
    return "An answer."


def measured(part: str, target: str = "reference", **settings: Any) -> Result:
    return perfsuite.run([f"chat-loop-{part}"], target=target, **{"duration": "1s", **settings})


def figures(result: Result) -> dict[tuple[str, str], MetricResult]:
    return {(one.name, one.stat): one for one in result.phases[0].metrics}


def of(name: str) -> str:
    return f"chatloop:{HERE}:{name}"


# ── timings ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_operation_is_timed_and_judged_by_the_guides_table() -> None:
    from perfsuite.chatloop.operations import EXPECTATIONS

    result = measured("timings")
    assert result.run.error is None
    assert result.run.target == "chatloop"
    found = figures(result)
    for row in EXPECTATIONS.values():
        for stat, target in (("p50", row.expected_ms), ("p95", row.p95_ms), ("max", row.maximum_ms)):
            one = found[row.name, stat]
            assert one.target == target
            assert one.critical == (stat != "max")
            assert one.value is not None, (row.name, one.reason)
    details = found["context_injection", "p95"].details
    assert details["expected_ms"] == 5.0
    assert isinstance(details["memory_peak_bytes"], int | float)
    assert any("context_injection: " in event.text and "at most" in event.text for event in result.phases[0].events)


def test_a_loop_that_is_slow_somewhere_fails_there() -> None:
    found = figures(measured("timings", of("Slow"), duration="3s"))
    assert found["content_sanitization", "p95"].verdict == "failed"
    assert found["content_sanitization", "p50"].verdict == "failed"
    assert found["input_validation", "p50"].verdict == "passed"
    assert found["tool_execution", "p95"].reason == "the model asked for no tool"


def test_an_async_loop_is_awaited() -> None:
    found = figures(measured("timings", of("Awaiting")))
    assert (found["llm_invocation", "p95"].samples or 0) > 20


# ── memory, efficiency ────────────────────────────────────────────────────────────────────────────────────────────────


def test_memory_by_size_and_at_scale() -> None:
    result = measured("memory", of("Sound"), duration="20m")
    assert result.run.error is None
    found = {name: one for (name, _), one in figures(result).items()}
    sizes: Any = found["conversation_memory"].details["sizes"]
    assert [one["messages"] for one in sizes] == [10, 50, 100, 500, 1000, 5000]
    assert [bool(one["trims"]) for one in sizes] == [False, False, True, True, True, True]
    assert sizes[-1]["bytes"] < 3 * sizes[2]["bytes"], "a history that is trimmed grew all the same"
    enterprise = found["scale_memory_enterprise"]
    assert enterprise.details["projection"] == "extrapolated from 100 users"
    assert enterprise.interval is not None
    assert any("extrapolated from 100" in event.text for event in result.phases[0].events)


def test_memory_keeps_to_its_time_as_far_as_it_can() -> None:
    (phase,) = measured("memory", of("Sound"), duration="0.1s").phases
    found = {one.name: one for one in phase.metrics}
    sizes: Any = found["conversation_memory"].details["sizes"]
    assert [one["messages"] for one in sizes] == [10, 50, 100]
    assert any("no time for conversations of 500 and 1,000 and 5,000" in event.text for event in phase.events)
    assert found["scale_memory_enterprise"].details["projection"] == "extrapolated from 100 users"
    assert found["untrimmed_time"].verdict == "passed"
    never = evidence({"sizes": [{**sizes[0], "trims": 0}], "users": [(1, 10), (2, 20), (3, 30)], "cpu_s": 1.0})
    assert isinstance(never["untrimmed_time"], NotMeasured)


@pytest.mark.parametrize(("seconds", "done"), [(0.0, 3), (14.9, 3), (15.1, 4), (31.1, 5)])
def test_what_fits_into_the_time_is_told_by_what_the_one_before_took(seconds: float, done: int) -> None:
    """A size of n takes n seconds; of 1, 2, 4, 8, 16 the first three always are."""
    now = 0.0
    having, taken = Time(seconds, lambda: now), []
    for size in having.fits([1, 2, 4, 8, 16]):
        now += size
        taken.append(size)
    assert len(taken) == done


def test_a_trim_gives_back_what_it_takes_away() -> None:
    (one,) = [m for m in measured("efficiency", of("Sound")).phases[0].metrics if m.name == "trim_efficiency"]
    assert one.verdict == "passed"
    rows: Any = one.details["sizes"]
    assert [row["kept"] for row in rows] == [10, 100, 240, 240]
    assert rows[3]["efficiency"] > 0.9
    (one,) = [m for m in measured("efficiency", of("Hoarding")).phases[0].metrics if m.name == "trim_efficiency"]
    assert one.verdict == "failed"


# ── stress ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", ["reference", of("Sound"), of("Awaiting")])
def test_a_sound_loop_bears_the_stress(target: str) -> None:
    result = measured("stress", target, duration="2s")
    found = {name: one for (name, _), one in figures(result).items()}
    assert found["stress_failures"].details["wrong"] == []
    assert found["stress_failures"].verdict == "passed"
    assert found["history_share"].verdict == "passed"


@pytest.mark.parametrize(
    ("target", "metric", "said"),
    [
        ("Unwashed", "stress_failures", "lone surrogates do not reach the history"),
        ("Forgetful", "stress_failures", "turns failed"),
        ("Hoarding", "history_share", ""),
    ],
)
def test_a_loop_that_is_not_sound_does_not(target: str, metric: str, said: str) -> None:
    result = measured("stress", of(target), duration="3s")
    found = {name: one for (name, _), one in figures(result).items()}
    assert found[metric].verdict == "failed"
    wrong: Any = found["stress_failures"].details["wrong"]
    assert any(said in text for text in wrong) or not said
    assert result.run.exit_code == 3


def test_timings_of_a_loop_that_never_answers_fail() -> None:
    (phase,) = measured("timings", of("Broken")).phases
    assert phase.verdict == "failed"
    assert "turns was answered" in phase.unhandled[0]
    assert not measured("timings", of("Sound")).phases[0].unhandled


# ── leaks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def apart(target: str, *program: str) -> MetricResult:
    """The slope that a process of its own sees: what earlier tests freed in this one would take up a leak."""
    path = os.pathsep.join(entry for entry in [str(Path(__file__).parent), *sys.path] if entry)
    command = [
        sys.executable,
        *(program or ("-m", "perfsuite")),
        "run",
        "chat-loop-leaks",
        "--target",
        target,
        "--duration",
        "60s",
    ]
    done = subprocess.run(
        [*command, "--max-requests", "1020", "--json", "-"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )
    assert done.returncode in (0, 3), done.stderr
    return figures(parse(done.stdout))["leak_slope", "value"]


@pytest.mark.parametrize("target", [of("Leaking"), f"python:{HERE}:leaking"])
def test_a_leak_is_found(target: str) -> None:
    slope = apart(target)
    assert slope.verdict == "failed", (slope.value, slope.interval)


@pytest.mark.parametrize("target", [of("Sound"), f"python:{HERE}:sound"])
def test_what_does_not_leak_is_not_said_to(target: str) -> None:
    slope = apart(target)
    assert slope.verdict in ("passed", "undecided"), (slope.value, slope.interval)


TORN = """
import random
rng = random.Random(1)
rows = [[bytearray(rng.randrange(10, 3000)) for _ in range(2000)] for _ in range(20)]
for row in rows:
    del row[::2]
from perfsuite.cli import main
import sys
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("target", "leaks"), [("leaking", True), ("sound", False), ("extension", True)])
def test_a_heap_with_free_room_hides_no_leak_and_makes_none(target: str, leaks: bool) -> None:
    """The program's heap is torn before: by resident memory alone a kilobyte an iteration was not seen."""
    slope = apart(f"python:{HERE}:{target}", "-c", TORN)
    assert (slope.verdict == "failed") is leaks, slope.details["slopes"]


def test_the_lines_that_allocate_are_named_on_request() -> None:
    settings = {"duration": "30s", "max_requests": 520}
    found = figures(measured("leaks", of("Leaking"), trace=True, **settings))["leak_slope", "value"]
    lines: Any = found.details["lines"]
    assert f"{HERE}.py" in lines[0]
    assert "lines" not in figures(measured("leaks", of("Leaking"), **settings))["leak_slope", "value"].details


def refusing(messages: list[dict[str, Any]]) -> str:
    raise ValueError("no")


def sometimes(messages: list[dict[str, Any]]) -> str:
    if next(turn) % 2:
        raise ValueError("no")
    return "A fine answer."


turn = count()


@pytest.mark.parametrize(("name", "answers"), [("refusing", False), ("sometimes", True)])
def test_what_never_answers_is_not_found_free_of_leaks(name: str, answers: bool) -> None:
    (phase,) = measured("leaks", f"python:{HERE}:{name}", duration="60s", max_requests=60, seed=1).phases
    assert ("none of" not in " ".join(phase.unhandled)) == answers
    (error,) = phase.errors
    assert (error.kind, error.count) == ("target", 30 if answers else 60)  # the limit counts what fails, too
    if not answers:  # the other's slope is for the tests of slopes to judge
        assert phase.verdict == "failed"


def test_leaks_of_another_process(served_url: str) -> None:
    result = measured("leaks", served_url, duration="3s", concurrency=4)
    found = figures(result)["leak_slope", "value"]
    assert "process is not known" not in (found.reason or "")
    points: Any = found.details["points"]
    iterations: Any = found.details["iterations"]
    assert iterations > 0
    assert len(points) >= 2
    assert points[0][1] > 10e6


@pytest.mark.parametrize(("requests", "said"), [(40, "there was time for"), (130, "too few iterations")])
def test_a_leak_test_that_saw_no_slope_has_measured_nothing(served_url: str, requests: int, said: str) -> None:
    """Neither the process's stable memory nor the document's 10 MB in 100 iterations is enough to pass it."""
    (phase,) = measured("leaks", served_url, duration="60s", concurrency=4, max_requests=requests).phases
    assert phase.verdict == "not measured", phase.reason
    asked = {m.name: m.verdict for m in phase.metrics if m.target is not None}
    asked.pop("memory_growth")
    assert asked == dict.fromkeys(("leak_slope", "growth_100", "growth_10000"), "not measured")
    assert said in str([m.reason for m in phase.metrics if m.name == "growth_100"])


@pytest.fixture
def served_url() -> Iterator[str]:
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, "-m", "perfsuite", "serve", "--model", "quick:0:0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


# ── load ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_load_is_users_with_a_message_a_second_each() -> None:
    result = measured("load", of("Sound"), duration="3s", users=5)
    phase = result.phases[0]
    assert phase.requested["users"] == 5
    assert phase.delivered["failed"] == 0
    slow = measured("load", f"python:{HERE}:stalls", duration="3s", users=5, threshold="response_time.p50<1s")
    (one,) = [m for m in slow.phases[0].metrics if m.name == "response_time" and m.stat == "p50"]
    assert one.value is not None
    assert one.value >= 1500
    assert one.verdict != "passed"


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_runs_its_parts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["chat-loop", "efficiency", "--target", of("Sound"), "--duration", "1s"]) == 0
    assert "trim_efficiency" in capsys.readouterr().out
    assert len(list((tmp_path / "test-results").glob("results-*.json"))) == 1
    assert main(["chat-loop", "efficiency", "--target", of("Hoarding"), "--duration", "1s"]) == 3
    assert main(["run", "chat-loop-efficiency", "--target", of("Sound"), "--duration", "1s"]) == 0


def test_the_profile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["chat-loop", "profile", "--target", of("Slow"), "--duration", "0.2s"]) == 0
    out = capsys.readouterr().out
    assert "_sanitize_content" in out
    (graph,) = (tmp_path / "test-results").glob("profile-*.svg")
    assert "_sanitize_content" in graph.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["timing"], "did you mean timings"),
        (["profile", "leaks"], "runs by itself"),
        (["profile", "--target", f"python:{HERE}:sound"], "only a chat loop is profiled"),
        (["timings", "--target", of("NotALoop")], "is no perfsuite.ChatLoop"),
        (["timings", "--target", of("Nobody")], "unknown function"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat-loop", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_what_needs_a_loop_says_so_of_a_function() -> None:
    result = measured("efficiency", f"python:{HERE}:sound")
    (one,) = [m for m in result.phases[0].metrics if m.name == "trim_efficiency"]
    assert one.verdict == "not measured"
    assert "is no chat loop" in (one.reason or "")


def test_the_group_is_all_of_them() -> None:
    from perfsuite.configuration import configure

    plan = configure({"phase": ["chat-loop"]})
    assert [phase.name for phase in plan.phases] == [
        f"chat-loop-{part}" for part in ("timings", "memory", "load", "stress", "leaks", "efficiency")
    ]
    assert plan.target == "chatloop"
    assert configure({"phase": ["chat-loop", "baseline"]}).target == "reference"


def test_a_turn_that_raises_is_named_by_the_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat-loop", "profile", "--target", of("Full"), "--duration", "0.2s"]) == 1
    assert f"{of('Full')}: a turn raised OSError: the disk is full" in capsys.readouterr().err
