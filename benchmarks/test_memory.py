"""The reference memory at 50,000 memories, beside the disk it writes to and plain SQLite.

The floor of a durable store is one write and fdatasync of a file that has its size; of a batch, executemany into a bare
table; the peer of a recall is full text as it comes: an OR over the question's words, ranked by bm25.  All work on the
same memories and questions, those of ``compare`` (workloads/memories.py).
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from perfsuite.compression import codec_at
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import Memories
from perfsuite.reference.retrieval import words_of
from perfsuite.reference.store import Store
from perfsuite.workloads.memories import Question, SeededCase

MEMORIES = 50_000
BATCH = 1_000
ASKED = 500
TURNS = 30
STORES_A_TURN = 10
THREADS = 8
CONFIG = ReferenceConfig(synchronous="FULL", cold_memories=1 << 30, embeds_stored=False)
Contenders = dict[str, tuple[Callable[[], object], int]]

missing: dict[str, str] = {}


@cache
def _folder() -> Path:
    """On the disk that is measured: the working folder's."""
    made = Path(tempfile.mkdtemp(prefix=".benchmark-memory-", dir=Path.cwd()))
    atexit.register(close)
    return made


_open: list[Store | sqlite3.Connection] = []
"""What ``close`` closes."""


def _opened(name: str) -> Memories:
    store = Store(_folder() / name, CONFIG, codec_at(CONFIG.codec))
    _open.append(store)
    return Memories(store, CONFIG)


def _batches() -> Iterator[list[str]]:
    """The same texts again and again, by the thousand."""
    texts = [memory.text for memory in SeededCase(1, max(BATCH, MEMORIES), ASKED).memories()]
    return cycle([texts[start : start + BATCH] for start in range(0, len(texts) - BATCH + 1, BATCH)])


def _plain(name: str, *, full_text: bool = True) -> sqlite3.Connection:
    """SQLite as it comes: a table, and FTS5 beside it."""
    connection = sqlite3.connect(_folder() / name, isolation_level=None)
    _open.append(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY, content TEXT)")
    if full_text:
        connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (content, content = '', "
                           "tokenize = 'porter unicode61')")  # fmt: skip
    return connection


def _insert(connection: sqlite3.Connection, texts: list[str], *, full_text: bool = True) -> None:
    connection.execute("BEGIN")
    start = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM memories").fetchone()[0]
    connection.executemany("INSERT INTO memories VALUES (?, ?)", enumerate(texts, start))
    if full_text:
        connection.executemany("INSERT INTO words (rowid, content) VALUES (?, ?)", enumerate(texts, start))
    connection.execute("COMMIT")


@cache
def batch_contenders() -> Contenders:
    """A thousand memories, durable together."""
    ours, texts = _opened("batch.sqlite"), _batches()
    table, both = _plain("table.sqlite", full_text=False), _plain("both.sqlite")
    return {
        "perfsuite": (lambda: ours.add("u", next(texts)), BATCH),
        "executemany into a table": (lambda: _insert(table, next(texts), full_text=False), BATCH),
        "executemany into a table and FTS5": (lambda: _insert(both, next(texts)), BATCH),
    }


@cache
def _filled() -> tuple[Memories, sqlite3.Connection, list[Question], dict[str, str]]:
    """Ours and plain FTS5 with all memories, the questions, and our ids' keys."""
    case = SeededCase(1, MEMORIES, ASKED)
    ours, plain, known = _opened("recall.sqlite"), _plain("fts5.sqlite"), {}
    memories = case.memories()
    while part := list(islice(memories, BATCH)):
        texts = [memory.text for memory in part]
        known |= dict(zip(ours.add("u", texts), (memory.key for memory in part), strict=True))
        _insert(plain, texts)
    return ours, plain, [one for one in case.questions() if one.relevant], known


def _or_query(plain: sqlite3.Connection, question: str) -> list[Any]:
    return plain.execute(
        "SELECT words.rowid, memories.content FROM words JOIN memories ON id = words.rowid "
        "WHERE words MATCH ? ORDER BY bm25(words) LIMIT 5",
        (" OR ".join(f'"{word}"' for word in words_of(question)),),
    ).fetchall()


def recall_contenders() -> Contenders:
    """The five nearest of all memories, a question after the other."""
    ours, plain, questions, _ = _filled()
    asked, again = cycle(questions), cycle(questions)
    return {
        "perfsuite": (lambda: ours.recall("u", next(asked).text, 5), 1),
        "FTS5, any word, by bm25": (lambda: _or_query(plain, next(again).text), 1),
    }


PEERS = [
    (f"store {BATCH:,} memories together, each", batch_contenders),
    (f"recall 5 of {MEMORIES:,} memories", recall_contenders),
]
GOALS = {PEERS[0][0]: {"perfsuite": 20_000.0}, PEERS[1][0]: {"FTS5, any word, by bm25": 3.0}}


def _syncs() -> Callable[[], None]:
    handle = os.open(_folder() / "raw", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(handle, bytes(1 << 22), 0)
    os.fsync(handle)
    numbers = cycle(range(1024))

    def call() -> None:
        os.pwrite(handle, bytes(4096), next(numbers) * 4096)
        os.fdatasync(handle)

    return call


def durable_stores() -> dict[str, float]:
    """Time of a store that is durable on its own, in raw fdatasyncs: the means of turns.  That the last ones become
    rows of the database is in it too."""
    ours, texts = _opened("single.sqlite"), _batches()
    plain, one = _plain("single-plain.sqlite"), iter(next(texts))
    raw = _syncs()
    calls: dict[str, Callable[[], object]] = {
        "raw": raw,
        "perfsuite": lambda: ours.add("u", [next(one)]),
        "SQLite as it comes": lambda: _insert(plain, [next(one)]),
    }
    taken = dict.fromkeys(calls, 0.0)
    for _ in range(TURNS):
        for label, call in calls.items():
            began = time.perf_counter()
            for _ in range(STORES_A_TURN):
                call()
            taken[label] += time.perf_counter() - began
    began = time.perf_counter()
    ours.counts()
    taken["perfsuite"] += time.perf_counter() - began
    floor = taken.pop("raw")
    return {label: seconds / floor for label, seconds in taken.items()}


def stores_at_once() -> dict[str, float]:
    """The same under THREADS threads, whose stores share syncs: the time over the number of stores."""
    ours, texts = _opened("at-once.sqlite"), _batches()
    raw, ours_s, raw_s = _syncs(), 0.0, 0.0

    def store(some: list[str]) -> None:
        for text in some:
            ours.add("u", [text])

    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(max(1, TURNS // 3)):
            given = next(texts)[: THREADS * STORES_A_TURN]
            began = time.perf_counter()
            list(threads.map(store, [given[at::THREADS] for at in range(THREADS)]))
            ours.counts()
            ours_s += time.perf_counter() - began
            began = time.perf_counter()
            for _ in given:
                raw()
            raw_s += time.perf_counter() - began
    return {"perfsuite": ours_s / raw_s}


def p99_of_recalls() -> dict[str, float]:
    """Of all questions, each asked three times and its quickest taken: a busy machine only ever adds."""
    ours, plain, questions, _ = _filled()
    calls: dict[str, Callable[[str], object]] = {
        "perfsuite": lambda text: ours.recall("u", text, 5),
        "FTS5, any word, by bm25": lambda text: _or_query(plain, text),
    }
    found = {}
    for label, call in calls.items():
        quickest = []
        for question in questions:
            times = []
            for _ in range(3):
                began = time.perf_counter()
                call(question.text)
                times.append(time.perf_counter() - began)
            quickest.append(min(times))
        found[label] = sorted(quickest)[len(quickest) * 99 // 100] * 1e3
    return found


def missed() -> dict[str, float]:
    """What recall@5 lacks of 1: of each question's answers, or of five of them, the share that is not there."""
    ours, plain, questions, known = _filled()
    keys = [memory.key for memory in SeededCase(1, MEMORIES, ASKED).memories()]
    lost = dict.fromkeys(("perfsuite", "FTS5, any word, by bm25"), 0.0)
    for question in questions:
        wanted = set(question.relevant)
        found = {
            "perfsuite": {known[hit.id] for hit in ours.recall("u", question.text, 5)},
            "FTS5, any word, by bm25": {keys[row - 1] for row, _ in _or_query(plain, question.text)},
        }
        for label, hits in found.items():
            lost[label] += 1 - len(wanted & hits) / min(5, len(wanted))
    return {label: 100 * share / len(questions) for label, share in lost.items()}


RESIDENT = """
import json, sys
from itertools import islice
import psutil
from perfsuite.compression import codec_at
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import Memories
from perfsuite.reference.store import Store
from perfsuite.workloads.memories import SeededCase
path, count = sys.argv[1], int(sys.argv[2])
config = ReferenceConfig(synchronous="FULL", cold_memories=1 << 30, embeds_stored=False)
case = SeededCase(1, count, 500)
questions = [question.text for question in case.questions()]
memories = Memories(Store(path, config, codec_at("zlib")), config)
before = psutil.Process().memory_info().rss
given = case.memories()
while part := [memory.text for memory in islice(given, 1000)]:
    memories.add("u", part)
for question in questions:
    memories.recall("u", question, 5)
print(json.dumps(psutil.Process().memory_info().rss - before))
"""


def resident() -> dict[str, float]:
    """Of a process of its own, from before the first store to after the last question."""
    path = _folder() / "resident.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, str(path), str(MEMORIES)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {"perfsuite": json.loads(done.stdout) / MEMORIES * 1_000 / 1e6}


def close() -> None:
    """The files are closed, and go."""
    while _open:
        _open.pop().close()
    _filled.cache_clear()
    batch_contenders.cache_clear()
    if _folder.cache_info().currsize:
        shutil.rmtree(_folder(), ignore_errors=True)
    _folder.cache_clear()


FIGURES = [
    ("durable store, in raw fdatasyncs", "×", durable_stores, 1 / 0.7),
    (f"durable stores of {THREADS} threads, in raw fdatasyncs", "×", stores_at_once, 1.0),
    (f"p99 of recalls from {MEMORIES:,}", "ms", p99_of_recalls, 5.0),
    (f"missed by recall@5 of {MEMORIES:,}", "%", missed, 5.0),
    ("resident, 1,000 memories", "MB", resident, 4.0),
]


@pytest.mark.benchmark(group="a batch of a thousand memories")
@pytest.mark.parametrize("label", ["perfsuite", "executemany into a table", "executemany into a table and FTS5"])
def test_batch(benchmark: Any, label: str) -> None:
    call, operations = batch_contenders()[label]
    benchmark.extra_info["operations"] = operations
    benchmark.pedantic(call, rounds=10)


@pytest.mark.benchmark(group="a recall from 50,000 memories")
@pytest.mark.parametrize("label", ["perfsuite", "FTS5, any word, by bm25"])
def test_recall(benchmark: Any, label: str) -> None:
    call, operations = recall_contenders()[label]
    benchmark.extra_info["operations"] = operations
    benchmark.pedantic(call, rounds=500)


@pytest.mark.benchmark(group="a durable store")
@pytest.mark.parametrize("label", ["perfsuite", "SQLite as it comes", "fdatasync"])
def test_durable_store(benchmark: Any, label: str) -> None:
    texts = iter(next(_batches()))
    if label == "fdatasync":
        call: Callable[[], object] = _syncs()
    elif label == "perfsuite":
        ours = _opened("benchmark.sqlite")
        call = lambda: ours.add("u", [next(texts)])  # noqa: E731
    else:
        plain = _plain("benchmark-plain.sqlite")
        call = lambda: _insert(plain, [next(texts)])  # noqa: E731
    benchmark.pedantic(call, rounds=300)
