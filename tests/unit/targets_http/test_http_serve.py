"""Every dialect, end to end, against the project's own server; each misbehaviour of it by its kind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfsuite
from perfsuite._core import Events
from perfsuite.loadgen import LoadSpec, drive
from perfsuite.plan import Plan
from perfsuite.targets import open_target
from perfsuite.targets.base import Reply
from served import a_request

SERVE = [sys.executable, "-m", "perfsuite", "serve", "--engine", "paced", "--model", "m1:5:1", "--tokens", "8"]


def started(*options: str) -> subprocess.Popen[str]:
    folder = str(Path(perfsuite.__file__).parents[1])
    command = [*SERVE, "--for", "120s", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": folder, "PATH": "/usr/bin"})


def ended(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process = started()
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    ended(process)


def driven(target_url: str, requests: int = 6) -> tuple[Events, list[Reply], dict[str, list[str]]]:
    replies: list[Reply] = []

    async def go() -> tuple[Events, dict[str, list[str]]]:
        target = await open_target(Plan(target=target_url), Path("/nowhere"))
        events = Events()
        spec = LoadSpec(duration_s=20.0, concurrency=2, max_requests=requests, request_timeout_s=5.0)
        try:
            delivered = await drive(
                target, iter(lambda: a_request("tell me"), None), spec, events,
                on_reply=lambda request, reply, failure, row: replies.append(reply) if reply else None,
                answers=True,
            )  # fmt: skip
            assert len(target.process_ids) == 1
        finally:
            await target.close()
        return events, delivered.examples

    events, examples = asyncio.run(asyncio.wait_for(go(), 40))
    return events, replies, examples


@pytest.mark.parametrize("prefix", ["", "responses+", "anthropic+", "ollama+"])
def test_each_dialect_against_the_server(prefix: str, url: str) -> None:
    events, replies, examples = driven(f"{prefix}{url}")
    assert (events.completed, events.failed, examples) == (6, 0, {})
    assert {(reply.completion_tokens, reply.counted_by, reply.model) for reply in replies} == {(8, "usage", "m1")}
    assert all(reply.text and (reply.prompt_tokens or 0) > 0 for reply in replies)
    assert events.chunks == 48
    assert events.histogram("service_ttft").min >= 4.5  # the stated 5 ms


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("cut@3", "incomplete"),
        ("reset@3", "reset"),
        ("bad_json@3", "malformed"),
        ("error_in_200@3", "target"),
        ("429=7", "http_429"),
        ("500=broken", "http_5xx"),
        ("garbage", "protocol"),
        ("big=10MB@2", "too_large"),
    ],
)
def test_each_misbehaviour_is_a_failure_of_its_kind(fault: str, kind: str) -> None:
    process = started("--fault", fault)
    try:
        assert process.stdout is not None
        events, _, examples = driven(process.stdout.readline().strip(), 2)
    finally:
        ended(process)
    assert (events.completed, list(examples)) == (0, [kind]), examples
