"""Memories in three tiers, and their retrieval.

hot     in the process, the last used ``hot_memories``
warm    rows of the database
cold    packed by ``cold_block`` into compressed blocks, the longest unused first, once there are more than
        ``warm_memories`` rows; beyond ``cold_memories`` the oldest block goes for good

All are in one full-text index, so that nothing is lost to a search by being cold.  A cold memory that is used becomes
hot, and at its second use a row again.

Retrieval: full text narrows (retrieval.py), embeddings rank what is left.  ``search`` is for a prompt: all that has
every content word of the question or, when nothing has, what has most of them and is near the best.  ``recall`` is for
whoever wants so many: the nearest, each with its score.

There is no index of vectors.  Searched exactly, these hashed embeddings find 0.72 of what is asked for among the first
five of 5,000 memories where full text finds 0.99, and embedding a memory takes as long as storing four.

A memory that is durable by the store's journal is a row later: with TOGETHER others, or before anything is looked for
or changed.  So whoever stores waits for the disk and little else, and whoever asks finds all that was stored.

Bounds: whatever is held in memory has a fixed number of entries, and a call reads a bounded number of rows, however
many memories there are.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import islice
from typing import Concatenate, Literal, NamedTuple, ParamSpec, TypeVar

from perfsuite._core import LRUCache
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.context import Note
from perfsuite.reference.embedding import embed, similarity
from perfsuite.reference.ranking import covers, without_stale
from perfsuite.reference.retrieval import OWNER_BITS, Found, Index, words_of
from perfsuite.reference.rows import Row, insert, record, row_of, unused
from perfsuite.reference.store import Store

P = ParamSpec("P")
R = TypeVar("R")
Tier = Literal["hot", "warm", "cold"]
RANKED = 24
"""Memories that are ranked by embedding; those beyond keep their order by full text."""
RECALLED = 12
"""Memories that ``recall`` ranks by embedding, unless twice as many as are asked for are more."""
NEAR = 0.6
"""Of the best similarity: a memory with only some of the words must be that near."""
LOWEST = 0.3
"""Similarity below which a memory with only some of the words is not about the question."""
TOUCHES = 1024
"""Uses of memories that wait to be noted with the next store."""
NOTED = 64
"""Uses that are noted together."""
EMBEDDED_AT_ONCE = 16
"""Memories that are embedded as they are stored, for they are likely to be asked for; those of a larger batch are when
they are."""
OPEN_BLOCKS = 8
TOGETHER = 32
"""Memories that wait to become rows in one transaction, which costs little more than that of one."""


class Recalled(NamedTuple):
    """A memory and how near it is to the question: the mean of the share of the question's words that it has, rare ones
    weighing more, and the cosine of the embeddings; less where a newer one seems to correct it."""

    id: str
    text: str
    score: float


def _alone(method: Callable[Concatenate[Memories, P], R]) -> Callable[Concatenate[Memories, P], R]:
    """A method that one thread at a time is in, and that finds all memories to be rows."""

    @wraps(method)
    def alone(self: Memories, /, *arguments: P.args, **keywords: P.kwargs) -> R:
        with self._lock:
            if self._behind:
                self._catch_up()
            return method(self, *arguments, **keywords)

    return alone


class Memories:
    """The memories of all users.  Its methods may be called by several threads."""

    def __init__(self, store: Store, config: ReferenceConfig) -> None:
        self._store = store
        self._config = config
        self._index = Index(store.connection)
        self._hot: LRUCache[int, str] = LRUCache(config.hot_memories)
        self._blocks: LRUCache[int, list[str]] = LRUCache(OPEN_BLOCKS)
        self._touched: dict[int, int] = {}
        self._lock = threading.RLock()
        self._behind: list[Row] = []
        self._next: dict[int, int] = {}
        self._count()
        self._store_again()
        store.owed = self._catch_up
        from perfsuite.embeddings import EmbeddingCache

        self.cache = EmbeddingCache(maxsize=config.embedding_entries)

    def add(self, user: str, texts: Sequence[str]) -> list[str]:
        """Stores memories, all or none, at once; returns their ids.  They can be found when this returns, or earlier.

        Where the disk fails, whether they are stored is open until they are looked for."""
        with self._lock:
            rows, kept = self._keep(user, texts)
            for row in rows[max(0, len(rows) - self._config.hot_memories) :]:
                self._hot[row.id] = row.text
        if kept is not None:
            self._store.settle(kept)
        if self._config.embeds_stored and len(texts) <= EMBEDDED_AT_ONCE:
            with self._lock:
                for text in texts:
                    self.cache.get_or_compute(text, embed)
        return [f"m{row.id}" for row in rows]

    def _keep(self, user: str, texts: Sequence[str]) -> tuple[list[Row], int | None]:
        """The memories' rows, and what to wait for where they are not on the disk."""
        if len(self._behind) >= TOGETHER:
            self._catch_up()
        owner = self._store.user(user)
        now = time.time()
        keeps = self._store.keeps(sum(map(len, texts)))
        if not keeps or len(texts) >= TOGETHER:
            with self._changing(passing=keeps) as db:
                start = unused(db, owner)
                rows = [Row(row, owner, now, text) for row, text in enumerate(texts, start)]
                insert(db, rows)
                self._warm += len(rows)
            kept = self._store.keep(record(user, owner, start, now, texts)) if keeps else None
            return rows, kept
        start = self._next.get(owner) or unused(self._store.connection, owner)
        rows = [Row(row, owner, now, text) for row, text in enumerate(texts, start)]
        kept = self._store.keep(record(user, owner, start, now, texts))  # may make rows of all that wait
        self._behind += rows
        self._next[owner] = start + len(rows)
        return rows, kept

    def _catch_up(self) -> None:
        """Makes rows of the memories that the journal has and the database not yet."""
        with self._lock:
            if not self._behind:
                return
            behind, self._behind = self._behind, []  # a transaction begins with this very method
            try:
                with self._changing(passing=True) as db:
                    insert(db, sorted(behind))
                    self._warm += len(behind)
            except BaseException:
                self._behind = behind
                raise
            self._next.clear()

    @contextmanager
    def _changing(self, *, passing: bool) -> Iterator[sqlite3.Connection]:
        """A transaction that brings memories; after it comes what is due then."""
        try:
            with self._store.passing() if passing else self._store.transaction() as db:
                yield db
                self._note(db, NOTED)
                if self._warm > self._config.warm_memories + self._config.cold_block:
                    self._cool(db)
        except BaseException:
            self._count()  # what the transaction had moved is where it was
            raise

    def _store_again(self) -> None:
        """Stores what the journal has and the database lacks: the last ones, and none before them.  A row that is
        missing, with a later one there or gone, was let go of."""
        for kept in self._store.kept():
            user, owner, start, now, texts = json.loads(kept)
            with self._store.passing() as db:
                db.execute("INSERT OR IGNORE INTO users (id, name, created_at) VALUES (?, ?, ?)", (owner, user, now))
                known = max(0, unused(db, owner) - start)
                rows = [Row(row, owner, now, text) for row, text in enumerate(texts, start)]
                insert(db, rows[known:])
                self._warm += len(rows[known:])

    def _count(self) -> None:
        db = self._store.connection
        self._warm = int(db.execute("SELECT count(*) FROM memories WHERE block_id IS NULL").fetchone()[0])
        self._cold = self._store.count("memories") - self._warm

    @_alone
    def get(self, identifier: str) -> str | None:
        """A memory's text, or None when there is none of that id.  A use of it."""
        row = row_of(identifier)
        text = None if row is None else self._text(row)
        if row is not None and text is not None:
            self._touch(row, text)
        return text

    @_alone
    def update(self, identifier: str, text: str) -> bool:
        """Gives a memory another text, at once; it keeps its id and its age.  False: there is none of that id."""
        row = row_of(identifier)
        try:
            with self._store.transaction() as db:
                if row is None or not self._unindex(db, row):
                    return False
                db.execute(
                    "UPDATE memories SET content = ?, block_id = NULL, slot = NULL, accessed_at = ? WHERE id = ?",
                    (text, time.time(), row),
                )
                db.execute("INSERT INTO memory_index (rowid, content) VALUES (?, ?)", (row, text))
                self._warm += 1
        except BaseException:
            self._count()
            raise
        self._hot[row] = text
        return True

    @_alone
    def delete(self, identifier: str) -> bool:
        """Forgets a memory for good.  False: there is none of that id."""
        row = row_of(identifier)
        try:
            with self._store.transaction() as db:
                if row is None or not self._unindex(db, row):
                    return False
                self._forget(db, row)
        except BaseException:
            self._count()
            raise
        return True

    def _unindex(self, db: sqlite3.Connection, row: int) -> bool:
        """Takes a memory out of the index and out of its block; its row is no more counted.  Whether there is one."""
        text = self._text(row)
        found = db.execute("SELECT block_id FROM memories WHERE id = ?", (row,)).fetchone()
        if text is None or found is None:
            return False
        # The index keeps no text: to delete from it, it must be told what it was given.
        db.execute("INSERT INTO memory_index (memory_index, rowid, content) VALUES ('delete', ?, ?)", (row, text))
        (block,) = found
        if block is None:
            self._warm -= 1
            return True
        self._cold -= 1
        db.execute("UPDATE memories SET block_id = NULL, slot = NULL WHERE id = ?", (row,))
        self._drop_if_empty(db, block)
        return True

    @_alone
    def tier_of(self, identifier: str) -> Tier | None:
        """Where a memory is; None when there is none of that id."""
        row = row_of(identifier)
        if row is None:
            return None
        if row in self._hot:
            return "hot"
        found = self._store.connection.execute("SELECT block_id FROM memories WHERE id = ?", (row,)).fetchone()
        if found is None:
            return None
        return "warm" if found[0] is None else "cold"

    @_alone
    def search(self, user: str, question: str, limit: int) -> list[Note]:
        """The user's memories about a question, most relevant first."""
        words = words_of(question)
        if not words or limit < 1:
            return []
        owner = self._store.user(user)
        rows = self._index.having_all(owner, words, max(limit, RANKED))
        exact = bool(rows)
        if not exact and len(words) > 1:
            rows = [one.row for one in self._index.nearest(owner, words, RANKED)]
        found = [(row, text) for row in rows if (text := self._text(row)) is not None]
        if not exact:
            found = [(row, text) for row, text in found if covers(text, words)]
        if not found:
            return []
        near = sorted(
            (-nearness, order, row, text)
            for order, ((row, text), nearness) in enumerate(
                zip(found, self._nearness(question, [text for _, text in found[:RANKED]]), strict=False)
            )
        )
        if not exact:
            best = -near[0][0]
            near = [one for one in near if -one[0] >= max(LOWEST, NEAR * best)]
        ranked = [(row, text) for _, _, row, text in near]
        if exact:
            ranked += found[RANKED:]
        del ranked[limit:]
        for row, text in ranked:
            self._touch(row, text)
        return [Note(f"m{row}", text) for row, text in ranked]

    @_alone
    def recall(self, user: str, question: str, limit: int) -> list[Recalled]:
        """The user's nearest memories to a question, the nearest first; of equals the newest.

        Of two that the question's words do not tell apart and that differ by little, the newer is what holds; of those
        that say the very same, the newest stands for all.
        """
        if limit < 1:
            return []
        owner = self._store.user(user)
        found = self._index.nearest(owner, words_of(question), max(2 * limit, RECALLED))
        newest: dict[str, Found] = {}
        for one in found:
            text = self._text(one.row)
            if text is not None and (text not in newest or newest[text].row < one.row):
                newest[text] = one
        known = [(one, text) for text, one in newest.items()]
        nearness = without_stale(known, self._nearness(question, list(newest)))
        ranked = sorted(
            ((one.share + near) / 2, one.row, text) for (one, text), near in zip(known, nearness, strict=True)
        )
        ranked = ranked[: -limit - 1 : -1]
        for _, row, text in ranked:
            self._touch(row, text)
        return [Recalled(f"m{row}", text, score) for score, row, text in ranked]

    def _nearness(self, question: str, texts: list[str]) -> list[float]:
        query = self.cache.get_or_compute(question, embed)
        return [similarity(query, self.cache.get_or_compute(text, embed)) for text in texts]

    @_alone
    def counts(self) -> dict[Tier, int]:
        """Memories by tier.  The hot ones are warm or cold as well."""
        return {"hot": len(self._hot), "warm": self._warm, "cold": self._cold}

    def _text(self, row: int) -> str | None:
        text = self._hot.get(row)
        if text is not None:
            return text
        found = self._store.connection.execute(
            "SELECT content, block_id, slot FROM memories WHERE id = ?", (row,)
        ).fetchone()
        if found is None:
            return None
        content, block, slot = found
        return str(content) if block is None else self._block(block)[slot]

    def _block(self, block: int) -> list[str]:
        texts = self._blocks.get(block)
        if texts is None:
            (data,) = self._store.connection.execute("SELECT data FROM memory_blocks WHERE id = ?", (block,)).fetchone()
            texts = json.loads(self._store.codec.decompress(data).decode("utf-8", "surrogatepass"))
            self._blocks[block] = texts
        return texts

    def _touch(self, row: int, text: str) -> None:
        self._hot[row] = text
        self._touched[row] = self._touched.get(row, 0) + 1
        if len(self._touched) > TOUCHES:
            with self._store.passing() as db:
                self._note(db, NOTED)

    @_alone
    def flush(self) -> None:
        """Notes the uses of memories; those that were cold and used twice become rows again."""
        with self._store.transaction() as db:
            self._note(db, len(self._touched))

    def _note(self, db: sqlite3.Connection, limit: int) -> None:
        """Notes uses, the longest known first."""
        now = time.time()
        for row in list(islice(self._touched, limit)):
            uses = self._touched.pop(row)
            db.execute("UPDATE memories SET accesses = accesses + ?, accessed_at = ? WHERE id = ?", (uses, now, row))
            found = db.execute(
                "SELECT block_id, slot FROM memories WHERE id = ? AND block_id IS NOT NULL AND accesses >= 2", (row,)
            ).fetchone()
            if found is not None:
                self._warm_up(db, row, *found)

    def _warm_up(self, db: sqlite3.Connection, row: int, block: int, slot: int) -> None:
        db.execute(
            "UPDATE memories SET content = ?, block_id = NULL, slot = NULL WHERE id = ?",
            (self._block(block)[slot], row),
        )
        self._warm += 1
        self._cold -= 1
        self._drop_if_empty(db, block)

    def _drop_if_empty(self, db: sqlite3.Connection, block: int) -> None:
        if db.execute("SELECT 1 FROM memories WHERE block_id = ? LIMIT 1", (block,)).fetchone() is None:
            db.execute("DELETE FROM memory_blocks WHERE id = ?", (block,))
            self._blocks.pop(block, None)

    def _cool(self, db: sqlite3.Connection) -> None:
        """Packs the longest unused warm memories into blocks, down to the cap."""
        size = self._config.cold_block
        while self._warm > self._config.warm_memories:
            rows = db.execute(
                "SELECT id, content FROM memories WHERE block_id IS NULL ORDER BY accessed_at, id LIMIT ?", (size,)
            ).fetchall()
            data = json.dumps([content for _, content in rows], ensure_ascii=False).encode("utf-8", "surrogatepass")
            block = db.execute(
                "INSERT INTO memory_blocks (codec, original_bytes, data) VALUES (?, ?, ?)",
                (self._store.codec.name, len(data), self._store.codec.compress(data)),
            ).lastrowid
            db.executemany(
                "UPDATE memories SET content = NULL, block_id = ?, slot = ?, accesses = 0 WHERE id = ?",
                [(block, slot, row) for slot, (row, _) in enumerate(rows)],
            )
            for row, _ in rows:
                self._hot.pop(row, None)
            self._warm -= len(rows)
            self._cold += len(rows)
        while self._cold > self._config.cold_memories:
            self._drop_oldest_block(db)

    def _drop_oldest_block(self, db: sqlite3.Connection) -> None:
        (block,) = db.execute("SELECT min(id) FROM memory_blocks").fetchone()
        for (row,) in db.execute("SELECT id FROM memories WHERE block_id = ? ORDER BY id", (block,)).fetchall():
            self._unindex(db, row)
            self._forget(db, row)

    def _forget(self, db: sqlite3.Connection, row: int) -> None:
        db.execute("DELETE FROM memories WHERE id = ?", (row,))
        db.execute("UPDATE users SET last_gone = max(last_gone, ?) WHERE id = ?", (row, row >> OWNER_BITS))
        self._hot.pop(row, None)
        self._touched.pop(row, None)
