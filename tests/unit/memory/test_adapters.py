"""What adapters do themselves, without the systems that they adapt: their endpoint, their repairs, their words."""

from __future__ import annotations

import asyncio
import importlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from perfsuite.memory import registry
from perfsuite.memory.adapters.endpoint import Endpoint
from perfsuite.memory.adapters.fts5 import FullText
from perfsuite.memory.adapters.letta import Letta
from served import Asked, beside, whole


def answers(asked: Asked) -> bytes:
    if asked.path == "/v1/echo":
        told = {"method": asked.method, "key": asked.headers.get("authorization"), "body": asked.body.decode()}
        return whole("200 OK", told)
    if asked.path == "/v1/empty":
        return whole("200 OK", b"")
    if asked.path.startswith("/v1/wrong"):
        return whole("400 Bad Request", {"error": "no such thing"})
    return b""


def test_an_endpoint_speaks_json_and_tells_the_other_sides_words() -> None:
    with beside(answers) as server, closing(Endpoint(f"{server.url}/v1/", "secret")) as endpoint:
        told = endpoint.ask("POST", "/echo", {"a": 1})
        assert told == {"method": "POST", "key": "Bearer secret", "body": json.dumps({"a": 1})}
        assert endpoint.ask("GET", "/empty") is None
        with pytest.raises(RuntimeError, match=r"GET /wrong was answered 400: .*no such thing"):
            endpoint.ask("GET", "/wrong?secret=1")
        assert endpoint.ask("GET", "/echo")["method"] == "GET", "the connection goes on"
        assert server.connections == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    with closing(Endpoint("http://127.0.0.1:9/v1")) as endpoint, pytest.raises(OSError, match="refused"):
        endpoint.ask("GET", "/echo")
    with beside(answers) as server, closing(Endpoint(f"{server.url}/v1")) as endpoint:
        endpoint.ask("GET", "/echo")
        endpoint._connection.sock.close()
        endpoint._connection.sock = None
        assert endpoint.ask("GET", "/echo")["method"] == "GET"
        assert server.connections == 2


@pytest.mark.parametrize("url", ["", "localhost:8283", "ftp://host/v1"])
def test_an_endpoint_needs_a_url(url: str) -> None:
    with pytest.raises(ValueError, match="write http://HOST:PORT"):
        Endpoint(url)


def test_lettas_repair_lets_sqlite_read_back_what_was_inserted(tmp_path: Path) -> None:
    file = tmp_path / "sqlite.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("CREATE TABLE archives_agents (id TEXT, created_at DATETIME DEFAULT 'now()' NOT NULL)")
        database.execute("INSERT INTO archives_agents (id) VALUES ('before')")
        assert database.execute("SELECT created_at FROM archives_agents").fetchone() == ("now()",), "what is wrong"
        letta = Letta()
        letta._repair(file)
        # the connection that was open, as the server's are, sees the new default
        database.execute("INSERT INTO archives_agents (id) VALUES ('after')")
        ((made,),) = database.execute("SELECT datetime(created_at) FROM archives_agents WHERE id = 'after'").fetchall()
        assert made is not None
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert letta.info()["patches"] != []
    second = Letta()
    second._repair(file)
    assert second.info()["patches"] == [], "what is whole is left alone"


def test_a_running_letta_needs_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    letta = registry.find("letta")
    monkeypatch.delenv("LETTA_URL", raising=False)
    assert not registry.shares_this_environment(letta)
    monkeypatch.setenv("LETTA_URL", "http://127.0.0.1:9")
    assert registry.shares_this_environment(letta)


def test_a_given_letta_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[str] = []

    def answer(asked: Asked) -> bytes:
        if asked.path == "/v1/health/":
            return whole("200 OK", {"version": "9.9"})
        if (asked.method, asked.path) == ("POST", "/v1/agents/"):
            made.append(f"agent-{len(made)}")
            return whole("200 OK", {"id": made[-1]})
        if asked.method == "POST":
            return whole("200 OK", [{"id": "passage-1"}])
        if "/search" in asked.path:
            return whole("200 OK", {"results": [{"content": "a text", "tags": ["tag"], "timestamp": ""}], "count": 1})
        return whole("200 OK", None)

    with beside(answer) as server:
        monkeypatch.setenv("LETTA_URL", server.url)
        letta = Letta()
        letta.initialize(tmp_path, "http://127.0.0.1:9/v1", 8)
        (ident,) = letta.store("a text", timestamp=1.7e9)
        assert letta.recall("text", 3) == [("tag", "a text", 1.0)]
        letta.delete(ident)
        again = Letta()
        again.initialize(tmp_path, "http://127.0.0.1:9/v1", 8)
        assert made == ["agent-0"], "the folder names the agent"
        assert again._endpoint is not None
        again._endpoint.close()
        letta.reset()
        letta.close()
        assert letta.info()["version"] == "9.9"
        deleted = [one.path for one in server.asked if one.method == "DELETE"]
    own = "/v1/agents/agent-0"
    assert deleted == [f"{own}/archival-memory/passage-1", own, "/v1/agents/agent-1"], "its own agents, and no others"
    assert not (tmp_path / "home").exists(), "no server was started"


def test_a_given_letta_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LETTA_URL", "http://127.0.0.1:9")
    with pytest.raises(RuntimeError, match=r"Letta's server does not answer: .*refused"):
        Letta().initialize(tmp_path, "http://127.0.0.1:9/v1", 8)


@pytest.mark.parametrize("name", ["sqlite-vec", "langmem", "mem0", "mem0-raw", "graphiti", "letta"])
def test_a_system_that_needs_a_model_says_so_where_there_is_none(name: str, tmp_path: Path) -> None:
    module, _, attribute = registry.find(name).factory.partition(":")
    system = getattr(importlib.import_module(module), attribute)()

    async def open_it() -> None:
        opening = system.initialize(tmp_path, None, 8)
        if opening is not None:
            await opening

    with pytest.raises(ValueError, match=r"needs .*: give (its|the) URL"):
        asyncio.run(open_it())


def test_a_memory_whose_words_cannot_be_indexed_is_not_kept(tmp_path: Path) -> None:
    with closing(FullText()) as system:
        system.initialize(tmp_path, None, 3)
        (kept,) = system.store("a blue house", metadata={"a": 1}, timestamp=1.0)
        system._db.execute("ALTER TABLE memory_index RENAME TO away")
        with pytest.raises(sqlite3.OperationalError):
            system.store("a red roof")
        with pytest.raises(sqlite3.OperationalError):
            system.update(kept, "a red roof")
        system._db.execute("ALTER TABLE away RENAME TO memory_index")
        assert system._db.execute("SELECT content, metadata FROM memories").fetchall() == [("a blue house", '{"a": 1}')]
        assert [hit.id for hit in system.recall("house")] == [kept]
        with pytest.raises(KeyError):
            system.delete("77")
        system.delete(kept)
        assert system.recall("house") == []
