"""llama.cpp's own server, driven for real: its dialects, its habits, a switch between two of it, a whole run."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfsuite
from perfsuite._core import Events
from perfsuite.errors import UsageError
from perfsuite.loadgen import LoadSpec, drive
from perfsuite.plan import ModelChoice, Plan
from perfsuite.result import PhaseResult, Result, load
from perfsuite.targets import open_target
from perfsuite.targets.base import Message, Reply, Request
from perfsuite.targets.http import wired
from perfsuite.targets.http.target import ChatTarget
from servers.llama import llama, needs_llama
from servers.started import Started

pytestmark = needs_llama
PACKAGES = str(Path(perfsuite.__file__).parents[1])
ANSWER = 12
HISTORY: list[Message] = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "What is a port?"},
    {"role": "assistant", "content": "A place for ships."},
    {"role": "user", "content": "And in a network?"},
]


@pytest.fixture(scope="module")
def server() -> Iterator[Started]:
    with llama("tiny", "--answer", "16") as started:
        yield started


def a_request(model: str | None = None) -> Request:
    return Request(
        message="And in a network?",
        messages=HISTORY,
        user_id="u",
        conversation_id="c",
        max_tokens=ANSWER,
        model=model,
    )


def driven(plan: Plan, requests: int, concurrency: int = 2) -> tuple[Events, list[Reply], dict[str, list[str]], int]:
    """Events, replies, failures by kind, and how many requests found their kept connection closed."""
    replies: list[Reply] = []

    async def go() -> tuple[Events, dict[str, list[str]], int]:
        target = await open_target(plan, Path("/nowhere"))
        assert isinstance(target, ChatTarget)
        events = Events()
        spec = LoadSpec(duration_s=60.0, concurrency=concurrency, max_requests=requests, request_timeout_s=30.0)
        models = target.models
        try:
            delivered = await drive(
                target,
                (a_request(models[number % len(models)]) for number in range(requests)),
                spec,
                events,
                on_reply=lambda request, reply, failure, row: replies.append(reply) if reply else None,
                answers=True,
            )
        finally:
            await target.close()
        closed = delivered.wire.get("stale_retries", 0) + delivered.wire.get("stale_closed", 0)
        return events, delivered.examples, closed + target.retried

    events, examples, closed = asyncio.run(asyncio.wait_for(go(), 90))
    return events, replies, examples, closed


@pytest.fixture(params=["wire", "asyncio"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to drive it."""
    if request.param == "asyncio":
        monkeypatch.setattr(wired, "WIRE_SCHEMES", frozenset())
    return str(request.param)


@pytest.mark.parametrize("prefix", ["", "responses+", "anthropic+"])
def test_each_dialect_with_a_history_and_its_usage(prefix: str, server: Started, engine: str) -> None:
    """Of the four dialects llama.cpp speaks three; the fourth, Ollama's, it does not."""
    events, replies, examples, _ = driven(Plan(target=f"{prefix}{server.url}"), 6)
    assert (events.completed, events.failed, examples) == (6, 0, {})
    assert {reply.counted_by for reply in replies} == {"usage"}
    # An answer may end early by itself, and the end's own token has no chunk.
    assert all(1 <= (reply.completion_tokens or 0) <= ANSWER for reply in replies)
    told = sum(reply.completion_tokens or 0 for reply in replies)
    assert told - len(replies) <= events.chunks <= told
    assert len({reply.prompt_tokens for reply in replies}) == 1  # the cache's share is part of the prompt
    assert any(reply.cached_tokens for reply in replies[1:])
    assert {reply.model for reply in replies} == {"tiny"}


def test_the_prompt_is_as_long_in_every_dialect(server: Started) -> None:
    lengths = {
        prefix: {reply.prompt_tokens for reply in driven(Plan(target=f"{prefix}{server.url}"), 2)[1]}
        for prefix in ("", "responses+", "anthropic+")
    }
    assert len({frozenset(length) for length in lengths.values()}) == 1, lengths


def test_it_does_not_speak_ollama_and_is_told_from_it(server: Started) -> None:
    with pytest.raises(UsageError, match="404"):
        driven(Plan(target=f"ollama+{server.url}"), 1)


def test_it_advertises_keep_alive_and_closes_after_a_stream(server: Started) -> None:
    """The habit itself, on a bare socket: what the clients have to live with."""
    body = json.dumps({"messages": HISTORY, "stream": True, "max_tokens": 2}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        heard = b""
        while part := connection.recv(65536):
            heard += part
    head, _, rest = heard.partition(b"\r\n\r\n")
    assert b"keep-alive: timeout=" in head.lower()
    assert b"connection: close" not in head.lower()
    assert rest.endswith(b"0\r\n\r\n")


def test_streams_one_after_another_lose_nothing_to_it(server: Started, engine: str) -> None:
    """Each next request may find its connection closed: it is sent again and counted, and is no failure."""
    events, replies, examples, closed = driven(Plan(target=server.url), 60, concurrency=1)
    assert (events.completed, len(replies), examples) == (60, 60, {})
    if engine == "wire":  # the other does not count those that it saw closed in time
        assert closed >= 59
    assert closed <= 60


def ran(folder: Path, *arguments: str) -> tuple[int, str, Result]:
    process = subprocess.run(
        [sys.executable, "-m", "perfsuite", *arguments],
        cwd=folder,
        env={"PYTHONPATH": PACKAGES, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    files = sorted((folder / "test-results").glob("results-*.json"))
    assert files, process.stdout + process.stderr
    return process.returncode, process.stdout + process.stderr, load(files[-1])


def test_init_and_then_a_plain_run_with_what_it_wrote(server: Started, tmp_path: Path) -> None:
    written = subprocess.run(
        [sys.executable, "-m", "perfsuite", "init", server.url],
        cwd=tmp_path,
        env={"PYTHONPATH": PACKAGES, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert written.returncode == 0, written.stderr
    assert "OpenAI chat completions, models: tiny" in written.stdout
    assert "(usage)" in written.stdout
    code, said, result = ran(tmp_path, "run", "--duration", "1s")
    assert code in (0, 3), said  # a slow or busy machine may miss a criterion; nothing else may go wrong
    assert "requests and" in said  # how much it will send, before it starts
    assert result.run.error is None
    assert [phase.name for phase in result.phases] == ["baseline", "cross-model", "load", "compression", "token"]
    assert all(not phase.unhandled and not phase.errors for phase in result.phases), said
    assert (
        not_measured(result)["cross-model.model_switch_time"] == "needs two models: name them with --model A --model B"
    )
    assert "does not show its inside" in not_measured(result)["token.window_optimization"]
    assert value(result, "load", "error_rate") == 0.0


def test_two_servers_make_a_model_switch(server: Started, tmp_path: Path) -> None:
    with llama("other", "--answer", "16", "--seed", "1") as other:
        models = ("--model", f"tiny@{server.url}", "--model", f"other@{other.url}")
        code, said, result = ran(tmp_path, "run", "cross-model", "--target", server.url, *models, "--duration", "3s")
        assert code in (0, 3), said
        (phase,) = result.phases
        assert not phase.errors, phase.errors
        measured = {one.name: one for one in phase.metrics if one.verdict != "not measured"}
        assert {"model_switch_time", "switch_overhead", "memory_growth", "context_window_limit"} <= set(measured)
        assert measured["model_switch_time"].samples >= 2
        # Memory is of both servers' processes.
        assert max(points(result, "cross-model", "process.processes")) == 2.0
        target_models = [ModelChoice(name="tiny", url=server.url), ModelChoice(name="other", url=other.url)]
        _, replies, examples, _ = driven(Plan(target=server.url, models=tuple(target_models)), 4, concurrency=1)
        assert not examples
        assert [reply.model for reply in replies] == ["tiny", "other", "tiny", "other"]


def test_prompts_are_counted_by_its_tokenizer_as_it_counts_them(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    with llama("tiny", "--tokenizer", str(file)) as server:
        plain = ("run", "token", "--target", server.url, "--duration", "2s")
        code, said, result = ran(tmp_path, *plain, "--tokenizer", str(file))
        assert code in (0, 3), said
        (accuracy,) = (one for one in result.phases[0].metrics if one.name == "token_counting_accuracy")
        assert accuracy.value == 1.0, accuracy
        # Six prompts have each length and each kind of text once; a slow machine gets not through all of them in time.
        assert 6 <= accuracy.details["requests"] <= 24
        assert "not_compared" not in accuracy.details
        assert str(file) in str(accuracy.details["counted_by"])
        # Another template: what it does not count is seen.
        (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
        _, _, result = ran(tmp_path, *plain, "--tokenizer", str(file))
        (accuracy,) = (one for one in result.phases[0].metrics if one.name == "token_counting_accuracy")
        assert accuracy.verdict == "failed"
        assert accuracy.value is not None
        assert 0.5 < accuracy.value < 0.99
        # Without a tokenizer there is nothing to compare.
        _, _, result = ran(tmp_path, *plain)
        assert "--tokenizer" in not_measured(result)["token.token_counting_accuracy"]


KEY = "sk-a-key-that-nobody-may-read-0123456789"


def test_its_key_is_nowhere_but_on_the_wire(tmp_path: Path) -> None:
    with llama("tiny", "--api-key", KEY, "--answer", "8") as server:
        environment = {"PYTHONPATH": PACKAGES, "PATH": "/usr/bin:/bin", "SHOP_KEY": KEY}
        common = ("--target", server.url, "--api-key-env", "SHOP_KEY", "--duration", "1s", "-v", "--raw", "raw.ndjson")
        process = subprocess.run(
            [sys.executable, "-m", "perfsuite", "run", "baseline", *common],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert process.returncode in (0, 3), process.stderr
        result = load(next((tmp_path / "test-results").glob("results-*.json")))
        assert value(result, "baseline", "error_rate") == 0.0
        assert result.phases[0].resources["server.requests_running"].series  # whose page wants the key, too
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.suffix for path in written} >= {".json", ".md", ".html", ".ndjson"}
        for path in written:
            assert KEY.encode() not in path.read_bytes(), path
        assert KEY not in process.stdout + process.stderr
        environment["SHOP_KEY"] = "another-key-987654"
        wrong = subprocess.run(
            [sys.executable, "-m", "perfsuite", "run", "baseline", *common],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert wrong.returncode == 2, wrong.stderr
        assert "the key in SHOP_KEY is not accepted" in wrong.stderr
        assert "another-key-987654" not in wrong.stdout + wrong.stderr


def not_measured(result: Result) -> dict[str, str]:
    return {
        f"{phase.name}.{one.name}": one.reason or ""
        for phase in result.phases
        for one in phase.metrics
        if one.verdict == "not measured"
    }


def value(result: Result, phase: str, name: str) -> float | None:
    return next(one.value for one in phases(result)[phase].metrics if one.name == name)


def points(result: Result, phase: str, series: str) -> list[float]:
    return [point for _, point in phases(result)[phase].resources[series].series]


def phases(result: Result) -> dict[str, PhaseResult]:
    return {phase.name: phase for phase in result.phases}
