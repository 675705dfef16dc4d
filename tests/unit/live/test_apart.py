"""The page's server in a process of its own: what it is told, its death, its silence, and that of the run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from perfsuite.errors import PerfsuiteError
from perfsuite.live import apart
from perfsuite.live.apart import Apart
from perfsuite.live.frames import Unframed, framed
from perfsuite.live.opening import opened
from perfsuite.pythonpath import VARIABLE, joined, package

PATIENCE_S = 120.0


def until(true: Callable[[], bool]) -> None:
    """Waits for it."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def page(said: list[str]) -> Iterator[Apart]:
    listener, token = opened("127.0.0.1:0", "--live", {})
    made = Apart(listener, token, "a test", said.append, target="it")
    try:
        yield made
    finally:
        made.close()


def states(made: Apart) -> Iterator[dict[str, object]]:
    """What a viewer gets, to the end of the stream."""
    with urllib.request.urlopen(f"{made.url}stream", timeout=PATIENCE_S) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def test_messages_come_whole_out_of_pieces_of_any_size() -> None:
    rng = random.Random(3)
    sent = [{"at": at, "text": "x" * rng.choice([0, 1, 70_000])} for at in range(20)]
    text, unframed, came = b"".join(map(framed, sent)), Unframed(), []
    while text:
        size = rng.choice([1, 3, 5, 4096, 100_000])
        came += unframed.feed(text[:size])
        text = text[size:]
    assert came == sent


def test_a_viewer_sees_what_is_put_and_the_end_is_kept_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "LAST_S", PATIENCE_S)
    said: list[str] = []
    with page(said) as made:
        assert made.viewers == 0
        viewer = states(made)
        assert next(viewer)["target"] == "it"
        until(lambda: made.viewers == 1)
        made.put(counts={"sent": 1}, rate=float("nan"))
        state = next(viewer)
        assert (state["counts"], state["rate"]) == ({"sent": 1}, None)
        made.end("over", counts={"sent": 2})
        made.put(counts={"sent": 3})
        made.end("over again")
        made.close()
        assert [(state["ended"], state["counts"]) for state in viewer] == [("over", {"sent": 2})]
    assert said == []
    assert made._process.returncode == 0


def test_its_death_is_one_line_and_nothing_more() -> None:
    said: list[str] = []
    with page(said) as made:
        os.kill(made.pid, signal.SIGKILL)
        until(lambda: made.viewers == 0 and bool(said))
        for number in range(3):
            made.put(number=number)
            assert made.viewers == 0
        made.end("over")
    (line,) = said
    assert "SIGKILL" in line
    assert "what is measured is whole" in line


def test_a_server_that_takes_nothing_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put is kept as its latest only; at the end it is given up."""
    monkeypatch.setattr(apart, "LAST_S", 0.2)
    said: list[str] = []
    with page(said) as made:
        os.kill(made.pid, signal.SIGSTOP)
        for number in range(200):  # 20 MB: more than any socket holds
            made.put(big="x" * 100_000, number=number)
        assert made._pending["number"] == 199
        assert len(made._pending) == 2
        made.end("over")
    assert len(said) == 1
    assert "was killed" in said[0]
    assert not psutil.pid_exists(made.pid)


def test_what_was_too_much_at_once_comes_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "LAST_S", PATIENCE_S)
    said: list[str] = []
    with page(said) as made:
        viewer = states(made)
        next(viewer)
        os.kill(made.pid, signal.SIGSTOP)
        for number in range(50):
            made.put(big="x" * 100_000, number=number)
        os.kill(made.pid, signal.SIGCONT)
        made.end("over")
        made.close()
        last = list(viewer)[-1]
    assert (last["number"], last["ended"], len(str(last["big"]))) == (49, "over", 100_000)
    assert said == []


def test_it_ends_with_a_run_that_is_killed() -> None:
    code = (
        "import time; from perfsuite.live.apart import Apart; from perfsuite.live.opening import opened\n"
        "page = Apart(*opened('127.0.0.1:0', '--live', {}), 'x', print)\n"
        "print(page.pid, page.url, flush=True); time.sleep(600)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
        env={**os.environ, VARIABLE: joined([package()])},
    )  # fmt: skip
    try:
        assert run.stdout is not None
        pid, url = run.stdout.readline().split()
        with urllib.request.urlopen(f"{url}stream", timeout=PATIENCE_S) as stream:
            stream.readline()
            run.kill()
            seen = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
        assert seen[-1]["ended"] == "The run was broken off."
        until(lambda: not psutil.pid_exists(int(pid)))
    finally:
        run.kill()
        run.communicate()


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    listener, token = opened("127.0.0.1:0", "--live", {})
    with pytest.raises(PerfsuiteError, match="cannot be served: its process ended with exit code 1"):
        Apart(listener, token, "x", print)
