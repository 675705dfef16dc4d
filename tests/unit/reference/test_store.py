from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perfsuite.compression import codec_at
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.reference.agents import Spent
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import Memories
from perfsuite.reference.store import INDEXES, Store

SMALL = ReferenceConfig(
    hot_memories=4,
    warm_memories=20,
    cold_memories=40,
    cold_block=8,
    max_sessions=64,
    max_archives=64,
    max_agent_logs=64,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "a.sqlite", SMALL, codec_at("zlib"))
    yield opened
    opened.close()


def fact(number: int) -> str:
    return f"The code of cabinet{number} is value{number}."


def test_the_seven_named_indexes_come_and_go(store: Store) -> None:
    def named() -> set[str]:
        rows = store.connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        return {name for (name,) in rows} & set(INDEXES)

    assert len(INDEXES) == 7
    assert named() == set(INDEXES)
    plan = store.connection.execute("EXPLAIN QUERY PLAN SELECT * FROM messages WHERE session_id = 1").fetchall()
    assert "idx_messages_session_id" in str(plan)
    store.drop_indexes()
    assert named() == set()


def test_messages_archives_and_transcripts(store: Store) -> None:
    session = store.session("s", "u")
    said: list[dict[str, Any]] = [{"role": "user", "content": f"text {number} é\ud800"} for number in range(30)]
    with pytest.raises(UnicodeEncodeError):
        store.add_messages(session, said)
    assert store.count("messages") == 0, "all or nothing"
    said = [{"role": "user", "content": f"text {number} é"} for number in range(30)]
    store.add_messages(session, said, [Spent("planner", "m", 3, 1), Spent("planner", "m", 4, 1)])
    assert store.archive_older(session, 10) == 20
    assert store.archive_older(session, 10) == 0
    assert store.count("messages") == 10
    assert store.recent_messages(session, 3) == said[-3:]
    assert store.transcript("s") == said
    assert store.transcript("nobody") == []
    assert store.spent_by_agent() == {"planner": ("m", 7, 2)}
    ((original, stored),) = store.archives()
    assert json.loads(original) == said[:20]
    assert len(stored) < len(original)
    assert list(store.archives(len(original) + 1)) == []


@pytest.mark.parametrize("codec", ["zlib", "bz2", "lzma", "zstd"])
def test_damage_is_not_taken_for_the_original(tmp_path: Path, codec: str) -> None:
    if codec == "zstd":
        pytest.importorskip("zstandard")
    store = Store(tmp_path / "a.sqlite", SMALL, codec_at(codec))
    session = store.session("s", "u")
    store.archive(session, [{"role": "user", "content": "a" * 500}])
    store.archive(session, [{"role": "user", "content": "b" * 500}])
    other = store.codec.compress(b"something else")
    store.connection.execute("UPDATE archives SET data = ? WHERE id = 1", (other,))
    store.connection.execute("UPDATE archives SET data = x'00' WHERE id = 2")
    for original, _ in store.archives():
        assert original == bytes(len(original)) != b""
    assert len(codec_at(codec, strongest=True).compress(b"x" * 999)) < 100
    store.close()


def test_everything_is_capped(store: Store) -> None:
    for number in range(400):
        session = store.session(f"s{number}", "u")
        store.archive(session, [{"role": "user", "content": "x"}])
        store.add_messages(session, [{"role": "user", "content": "x"}], [Spent("a", "m", 1, 1)])
    for table in ("sessions", "archives", "agent_logs", "messages"):
        assert store.count(table) <= 2 * 64, table


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"not a database, but long enough to be looked at as one" * 20)
    for path in (tmp_path / "a.sqlite", tmp_path, tmp_path / "none" / "b.sqlite"):
        with pytest.raises(PerfsuiteError, match=str(path)):
            Store(path, SMALL, codec_at("zlib"))
    with pytest.raises(UsageError, match="zlib"):
        codec_at("zlip")


def test_memories_move_through_their_tiers(store: Store) -> None:
    memories = Memories(store, SMALL)
    ids = [memories.add("u", [fact(number)])[0] for number in range(20)]
    assert [memories.tier_of(one) for one in (ids[0], ids[-1])] == ["warm", "hot"]
    ids += [memories.add("u", [fact(number)])[0] for number in range(20, 40)]
    assert memories.tier_of(ids[0]) == "cold"
    oldest = store.connection.execute("SELECT content FROM memories WHERE id = ?", (int(ids[0][1:]),))
    assert oldest.fetchone() == (None,)
    assert store.count("memory_blocks") >= 1
    assert memories.counts()["warm"] <= SMALL.warm_memories + SMALL.cold_block
    # Cold memories are found like all others, become hot by use, and rows again by a second one.
    (found,) = memories.search("u", "What is the code of cabinet0?", 5)
    assert found.text == fact(0)
    assert memories.tier_of(ids[0]) == "hot"
    assert memories.get(ids[0]) == fact(0)
    memories.flush()
    for number in range(1, 6):
        memories.get(ids[number])  # pushes it out of the hot ones
    assert memories.tier_of(ids[0]) == "warm"
    assert memories.get(ids[0]) == fact(0)
    # Beyond the cap of cold ones the oldest go, from the index too.
    for number in range(40, 160):
        memories.add("u", [fact(number)])
    assert store.count("memories") <= SMALL.warm_memories + SMALL.cold_memories + 2 * SMALL.cold_block
    assert memories.tier_of(ids[10]) is None
    assert memories.search("u", "What is the code of cabinet10?", 5) == []
    assert memories.search("u", "What is the code of cabinet159?", 5)[0].text == fact(159)
    counts = memories.counts()
    assert counts["warm"] + counts["cold"] == store.count("memories")
    again = Memories(store, SMALL)
    assert {tier: again.counts()[tier] for tier in ("warm", "cold")} == {
        tier: counts[tier] for tier in ("warm", "cold")
    }


def test_blocks_go_when_all_in_them_are_rows_again(store: Store) -> None:
    memories = Memories(store, SMALL)
    ids = [memories.add("u", [fact(number)])[0] for number in range(SMALL.warm_memories + SMALL.cold_block + 1)]
    assert store.count("memory_blocks") == 2
    for _ in range(2):
        for one in ids[: SMALL.cold_block]:
            memories.get(one)
        memories.flush()
    assert store.count("memory_blocks") == 1
    assert [memories.get(one) for one in ids] == [fact(number) for number in range(len(ids))]


def test_updates_and_deletions_in_every_tier(store: Store) -> None:
    memories = Memories(store, SMALL)
    ids = [memories.add("u", [fact(number)])[0] for number in range(40)]
    by_tier = {tier: [one for one in ids if memories.tier_of(one) == tier] for tier in ("hot", "warm", "cold")}
    before = memories.counts()
    for tier, some in by_tier.items():
        changed, gone = some[-1], some[-2]
        number = ids.index(gone)
        assert memories.update(changed, f"The lamp{tier} is new."), tier
        assert memories.get(changed) == f"The lamp{tier} is new."
        assert memories.search("u", f"What of the lamp{tier}?", 5)[0].id == changed
        assert memories.search("u", f"code of cabinet{ids.index(changed)}?", 5) == [], "the old text is gone"
        assert memories.delete(gone), tier
        assert memories.get(gone) is None
        assert memories.tier_of(gone) is None
        assert memories.search("u", f"code of cabinet{number}?", 5) == []
        assert not memories.delete(gone)
        assert not memories.update(gone, "again")
    assert not memories.update("nonsense", "x")
    memories.flush()
    after = memories.counts()
    assert after["warm"] + after["cold"] == store.count("memories") == before["warm"] + before["cold"] - 3
    assert Memories(store, SMALL).counts()["cold"] == after["cold"]
    # An id is not given twice, though the newest memory goes.
    (newest,) = memories.add("u", ["The last one."])
    memories.delete(newest)
    assert memories.add("u", ["Another last one."])[0] != newest
    for block in by_tier["cold"]:
        memories.delete(block)
    assert memories.counts()["cold"] == 0
    assert store.count("memory_blocks") == 0
    store.connection.execute("INSERT INTO memory_index (memory_index) VALUES ('integrity-check')")


def test_an_update_that_fails_leaves_all_as_it_was(store: Store) -> None:
    memories = Memories(store, SMALL)
    (one,) = memories.add("u", [fact(1)])
    before = memories.counts()
    with pytest.raises(UnicodeEncodeError):
        memories.update(one, "\ud800")
    with pytest.raises(UnicodeEncodeError):
        memories.add("u", ["fine", "\ud800"])
    assert memories.counts() == before
    assert memories.search("u", "code of cabinet1?", 5)[0].text == fact(1)


def test_search(store: Store) -> None:
    memories = Memories(store, replace(SMALL, warm_memories=1000))
    memories.add("u", [fact(number) for number in range(50)])
    memories.add("u", ["Nothing to see.", "The code word is not about furniture."])
    memories.add("other", [fact(7)])
    assert [note.text for note in memories.search("u", "What is the code of cabinet7?", 9)] == [fact(7)]
    assert [note.text for note in memories.search("u", "Codes of cabinet7, please?", 9)] == [fact(7)], "stemmed"
    partly = memories.search("u", "What is the value of the code for cabinet7 upstairs?", 9)
    assert partly[0].text == fact(7)
    assert memories.search("u", "Who won the race?", 9) == []
    assert memories.search("u", "is it the?", 9) == []
    assert memories.search("stranger", "What is the code of cabinet7?", 9) == []
    assert len(memories.search("u", "Which code?", 12)) == 12
    for hostile in ('"', "NEAR(a b)", "code*", "code OR (", "owner:u2 code", "é -x", "a" * 5000):
        memories.search("u", hostile, 9)


WRITER = """
import sys
from pathlib import Path
from perfsuite.compression import codec_at
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import Memories
from perfsuite.reference.store import Store
config = ReferenceConfig()
store = Store(Path(sys.argv[1]), config, codec_at("zlib"))
memories = Memories(store, config)
session = store.session("s", "u")
number = 0
while True:
    (made,) = memories.add("u", [f"memory {number}"])
    store.add_messages(session, [{"role": "user", "content": f"message {number}"}])
    print(made, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += writer.stdout.read().split()
    writer.stdout.close()
    writer.wait(10)
    store = Store(path, ReferenceConfig(), codec_at("zlib"))
    memories = Memories(store, ReferenceConfig())
    said = {message["content"] for message in store.transcript("s")}
    for number, made in enumerate(acknowledged):
        assert f"message {number}" in said
        assert memories.get(made) == f"memory {number}"
        assert memories.search("u", f"memory {number}?", 3)[0].id == made
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


def test_a_disk_that_is_full_by_the_last_index_is_no_internal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Store) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "create_indexes", full)
    with pytest.raises(PerfsuiteError, match=r"cannot open the database .*: database or disk is full"):
        Store(tmp_path / "r.sqlite", SMALL, codec_at("zlib"))
