"""Real memory systems, each in a process and an environment of its own, over the stand-in for their model.

An environment that is not in the cache is made where ``PERFSUITE_INSTALL`` names the system, or is 1 for all (minutes,
and gigabytes), as CONTRIBUTING.md has it; else the test of that system is skipped and names the command.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from perfsuite.errors import UsageError
from perfsuite.memory import environments, registry
from perfsuite.memory.host import Hosted, Item
from perfsuite.serve.standin import Counts, StandIn

INSTALL = "PERFSUITE_INSTALL"
MEMORIES = 24
DIM = 96
COLOURS = ("red", "green", "blue", "ochre")


class Expected(NamedTuple):
    """Of each store: calls of the model for chat (least), for embeddings (least).  ``finds``: the least share of
    questions that are answered; ``keeps``: whether a new process finds what was flushed."""

    chat: float
    embeddings: float
    finds: float = 1.0
    keeps: bool = True


SYSTEMS = {
    "sqlite-vec": Expected(0, 1),
    "langmem": Expected(1, 2),
    "mem0-raw": Expected(0, 1),
    "mem0": Expected(1, 2),
    "graphiti": Expected(3, 3, finds=0.9),
    "mnemocore": Expected(0, 0),
    "mnemocore-haim": Expected(0, 0, finds=0.0, keeps=False),
    "letta": Expected(0, 1),
}
SLOW = {"letta"}
"""They take so long to start that they run only where they are asked for."""


@dataclass
class Seen:
    """What left for anywhere but the loopback, by the first line of each request."""

    lines: list[str] = field(default_factory=list)


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[dict[str, str], Seen]]:
    """The variables that send every call of an ordinary HTTP client to a listener that notes and refuses it."""
    seen = Seen()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.lines.append((await reader.readline()).decode("latin-1").strip())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    own = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), url)
    async with server:
        yield {**own, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}, seen


def marker(number: int) -> str:
    """A word that no other memory has; of letters, since one engine's index leaves out digits."""
    letters = "bcdfghjklm"
    return "zu" + "".join(letters[int(digit)] for digit in f"{number * 7919 % 99991:05d}")


def item(number: int) -> Item:
    text = f"The locker of Person{number % 7} has the code {marker(number)} and is painted {COLOURS[number % 4]}."
    return Item(text, {"number": number}, "one", 1.7e9 + number)


def question(number: int) -> str:
    """Without a question mark: Kuzu does not find the word before it."""
    return f"Which locker has the code {marker(number)}"


def available(name: str) -> None:
    """Installs the system where that was asked for; skips where it is not here."""
    system = registry.find(name)
    names = os.environ.get(INSTALL, "").split()
    asked = name in names or "1" in names
    if name in SLOW and not asked:
        pytest.skip(f"it takes a minute to start: {INSTALL}={name} python -m pytest tests/systems")
    if registry.missing(name) is None:
        return
    if not asked:
        pytest.skip(f"not installed: {INSTALL}={name} python -m pytest tests/systems")
    try:
        environments.base_for(system)
    except UsageError as error:
        pytest.skip(str(error))
    environments.make(system)


def test_the_listener_notes_what_leaves(tmp_path: Path) -> None:
    async def leave() -> Seen:
        async with proxy() as (variables, seen):
            code = "import urllib.request; urllib.request.urlopen('http://elsewhere.invalid/told')"
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, env={**os.environ, **variables}, stderr=subprocess.DEVNULL
            )
            await child.wait()
            return seen

    assert "elsewhere.invalid/told" in asyncio.run(leave()).lines[0]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_remembers_over_the_stand_in(name: str, tmp_path: Path) -> None:
    available(name)
    asyncio.run(_remembers(name, SYSTEMS[name], tmp_path))


async def _remembers(name: str, expected: Expected, workdir: Path) -> None:
    async with StandIn(dim=DIM) as model, proxy() as (variables, seen):
        options = {
            "workdir": workdir / "state",
            "model_url": model.url_of(name),
            "dim": DIM,
            "environment": variables,
            "timeout_s": 300.0,
            "start_timeout_s": 900.0,
        }
        async with Hosted.start(name, **options) as system:
            info = await system.info()
            assert info["name"] == name
            assert info["version"]
            assert info["class"] == registry.find(name).kind

            stored = await system.store([item(number) for number in range(MEMORIES)])
            assert stored.errors == []
            assert all(stored.results), "each store became a memory with an id"
            counts = model.counts(name)
            _check_calls(counts, expected)
            await system.flush()

            found = await system.recall([question(number) for number in range(MEMORIES)], 5)
            assert found.errors == []
            hits = [any(marker(number) in hit.text for hit in found.results[number]) for number in range(MEMORIES)]
            if expected.finds:
                assert sum(hits) >= expected.finds * MEMORIES
            else:
                assert found.results == [[]] * MEMORIES, "nothing is found, and that is seen"
            assert all(len(one) <= 5 for one in found.results)

            first = stored.results[0][0]
            if "tier_of" in system.offers:
                assert (await system.tier_of([first])).results[0] in ("hot", "warm", "cold")
            if "update" in system.offers:
                assert (await system.update([(first, "The locker of Person0 now has the code zuvvvvv.")])).errors == []
                (now,) = (await system.recall(["Which locker has the code zuvvvvv?"], 1)).results
                assert [(hit.id, "zuvvvvv" in hit.text) for hit in now] == [(first, True)]
            if "delete" in system.offers and expected.finds:
                assert (await system.delete([first])).errors == []
                (left,) = (await system.recall(["Which locker has the code zuvvvvv?"], 5)).results
                assert all(hit.id != first for hit in left)
            await system.flush()
            guard = psutil.Process(system.pid).ppid()
            tree = [one.pid for one in psutil.Process(guard).children(recursive=True)]
            counted = system.rusage().processes
        assert [pid for pid in tree if psutil.pid_exists(pid)] == [], "what it started ends with it"
        if name == "graphiti" and "FalkorDB" in str(info["configuration"]):
            assert counted == len(tree) == 2, "its database is counted with it"

        forgets = any("durable" in one for one in info["disabled"])  # LangMem, where no SQLite here loads extensions
        if expected.keeps and not forgets:
            async with Hosted.start(name, **options) as system:
                (again,) = (await system.recall([question(9)], 5)).results
                assert any(marker(9) in hit.text for hit in again), "a new process finds it in the folder"
                await system.reset()
                assert (await system.recall([question(9)], 5)).results == [[]]
        assert model.counts(name).unknown == 0, "the stand-in knew every structure that it was asked for"
        assert seen.lines == [], "nothing leaves this machine"


def _check_calls(counts: Counts, expected: Expected) -> None:
    """Calls of the model, as many as the class of the system lets one expect."""
    told = asdict(counts)
    assert counts.refused == 0, told
    if expected.chat:
        assert counts.chat_calls >= expected.chat * MEMORIES, told
    else:
        assert counts.chat_calls == 0, told
    if expected.embeddings:
        assert counts.embedding_calls >= expected.embeddings * MEMORIES, told
    else:
        assert counts.embedding_calls == 0, told


def test_zep_cloud_says_that_it_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perfsuite.memory.adapters.zep_cloud import ZepCloud

    monkeypatch.delenv("ZEP_API_KEY", raising=False)
    with pytest.raises(ValueError, match="put your key into ZEP_API_KEY"):
        ZepCloud().initialize(tmp_path, None, DIM)
