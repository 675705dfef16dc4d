"""The shipped template against ``langgraph dev``: captures, the whole state again and again, a whole run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfsuite
from perfsuite._core import Events, Row
from perfsuite.cli import main
from perfsuite.plan import ModelChoice, Plan
from perfsuite.result import load
from perfsuite.targets import open_target
from perfsuite.targets.base import Failure, Reply, Request
from servers.langgraph_dev import langgraph_dev, needs_langgraph
from servers.started import Started

pytestmark = needs_langgraph


@pytest.fixture(scope="module")
def server() -> Iterator[Started]:
    with langgraph_dev() as started:
        yield started


def asked(server: Started, *messages: tuple[str, str]) -> tuple[list[Reply], list[Row], Events]:
    """(conversation, message) pairs, one after another."""
    events = Events()

    async def go() -> tuple[list[Reply], list[Row]]:
        plan = Plan(target="template:langgraph", models=(ModelChoice(name="agent", url=server.url),))
        target = await open_target(plan, Path("/nowhere"))
        replies, rows = [], []
        try:
            for conversation, text in messages:
                row = events.begin(time.monotonic_ns())
                said = [{"role": "user", "content": text}]
                request = Request(message=text, messages=said, user_id="u", conversation_id=conversation)
                replies.append(await target.send(request, row))
                row.end(0)
                rows.append(row)
        finally:
            await target.close()
        return replies, rows

    replies, rows = asyncio.run(asyncio.wait_for(go(), 60))
    return replies, rows, events


def test_init_finds_the_template_and_the_graph(
    server: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", server.url]) == 0
    out = capsys.readouterr().out
    assert "by template:langgraph, graphs: agent" in out
    assert "got      You said: Hello!" in out
    assert 'model = ["agent"]' in (tmp_path / "perfsuite.toml").read_text()


def test_a_thread_for_each_conversation_and_its_memory_is_the_servers(server: Started) -> None:
    replies, _, _ = asked(server, ("a", "one"), ("b", "two"), ("a", "three"))
    assert [reply.text for reply in replies] == ["You said: one", "You said: two", "You said: one three"]
    assert {(reply.prompt_tokens, reply.completion_tokens, reply.counted_by) for reply in replies} == {(7, 5, "usage")}


def test_the_whole_state_again_and_again_is_two_chunks_and_the_users_own_words_are_none(server: Started) -> None:
    """Each answer is three ``values`` events: what was asked, the beginning, the whole."""
    _, rows, events = asked(server, ("c", "one"), ("c", "two"))
    assert [row.tokens for row in rows] == [2, 2]
    assert events.histogram("itl").count == 2


def test_an_error_inside_the_stream_is_a_failure_with_its_words(server: Started) -> None:
    with pytest.raises(Failure, match="ValueError: the graph was asked to fail") as raised:
        asked(server, ("d", "please fail"))
    assert raised.value.kind == "target"


def test_a_run_remembers_what_the_thread_was_told(server: Started, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "perfsuite", "run", "baseline", "load", "--target", "template:langgraph",
         "--model", f"agent@{server.url}", "--duration", "4s"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(perfsuite.__file__).parents[1]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    said = process.stdout + process.stderr
    assert process.returncode in (0, 3), said  # a busy machine may miss a criterion
    (file,) = (tmp_path / "test-results").glob("results-*.json")
    result = load(file)
    assert "kernel" in result.environment.stamps, "the engine tells what is new in a state that comes again and again"
    chunks = result.phases[0].metric("tokens_per_chunk")
    assert chunks is not None
    assert chunks.value == 2.5  # five tokens by the service's count, two chunks by the engine's
    assert all(not phase.errors and not phase.unhandled for phase in result.phases), said
    found = {f"{phase.name}.{one.name}": one for phase in result.phases for one in phase.metrics}
    kept = found["baseline.context_preservation"]
    assert kept.value == 1.0, kept.reason
    assert found["baseline.itl"].samples > 0
    assert found["baseline.memory_usage"].value is not None
    assert result.phases[0].resources["server.resident_bytes"].series
    assert found["baseline.compression_ratio"].verdict == "not measured"
