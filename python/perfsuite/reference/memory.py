"""Memories in three tiers, and their retrieval.

hot     in the process, the last used ``hot_memories``
warm    rows of the database
cold    packed by ``cold_block`` into compressed blocks, the longest unused first, once there are more than
        ``warm_memories`` rows; beyond ``cold_memories`` the oldest block goes for good

All are in one full-text index, so that nothing is lost to a search by being cold.  A cold memory that is used becomes
hot, and at its second use a row again.

Retrieval: full text narrows (all content words of the question; when no memory has them all, most of them),
embeddings rank what is left.  What has only most of the words must be near the best to count.
"""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Literal

from perfsuite._core import LRUCache
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.context import Note
from perfsuite.reference.embedding import embed, similarity
from perfsuite.reference.model import content_words
from perfsuite.reference.store import Store

Tier = Literal["hot", "warm", "cold"]
RANKED = 24
"""Memories that are ranked by embedding; those beyond keep their order by full text."""
NEAR = 0.6
"""Of the best similarity: a memory with only some of the words must be that near."""
LOWEST = 0.3
"""Similarity below which a memory with only some of the words is not about the question."""
TOUCHES = 64
"""Uses of memories that are noted together."""
OPEN_BLOCKS = 8


class Memories:
    """The memories of all users."""

    def __init__(self, store: Store, config: ReferenceConfig) -> None:
        self._store = store
        self._config = config
        self._hot: LRUCache[int, str] = LRUCache(config.hot_memories)
        self._blocks: LRUCache[int, list[str]] = LRUCache(OPEN_BLOCKS)
        self._touched: dict[int, int] = {}
        db = store.connection
        self._warm = int(db.execute("SELECT count(*) FROM memories WHERE block_id IS NULL").fetchone()[0])
        self._cold = store.count("memories") - self._warm
        from perfsuite.embeddings import EmbeddingCache

        self.cache = EmbeddingCache(maxsize=config.embedding_entries)

    def add(self, user: str, texts: list[str]) -> list[str]:
        """Stores memories, at once; returns their ids.  They can be found when this returns."""
        owner = self._store.user(user)
        now = time.time()
        rows: list[int] = []
        with self._store.transaction() as db:
            for text in texts:
                row = db.execute(
                    "INSERT INTO memories (profile_id, user_id, content, created_at, accessed_at) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (owner, owner, text, now, now),
                ).lastrowid
                assert row is not None
                db.execute(
                    "INSERT INTO memory_index (rowid, owner, content) VALUES (?, ?, ?)", (row, f"u{owner}", text)
                )
                rows.append(row)
        self._warm += len(rows)
        for row, text in zip(rows, texts, strict=True):
            self._hot[row] = text
            self.cache.get_or_compute(text, embed)
        if self._warm > self._config.warm_memories + self._config.cold_block:
            self._cool()
        return [f"m{row}" for row in rows]

    def get(self, identifier: str) -> str | None:
        """A memory's text, or None when there is none of that id.  A use of it."""
        row = _row(identifier)
        text = None if row is None else self._text(row)
        if row is not None and text is not None:
            self._touch(row, text)
        return text

    def tier_of(self, identifier: str) -> Tier | None:
        """Where a memory is; None when there is none of that id."""
        row = _row(identifier)
        if row is None:
            return None
        if row in self._hot:
            return "hot"
        found = self._store.connection.execute("SELECT block_id FROM memories WHERE id = ?", (row,)).fetchone()
        if found is None:
            return None
        return "warm" if found[0] is None else "cold"

    def search(self, user: str, question: str, limit: int) -> list[Note]:
        """The user's memories about a question, most relevant first."""
        words = content_words(question)
        if not words or limit < 1:
            return []
        owner = self._store.user(user)
        exact = True
        rows = self._match(owner, words, "AND", limit)
        if not rows and len(words) > 1:
            exact = False
            rows = self._match(owner, words, "OR", RANKED)
        found = [(row, text) for row in rows if (text := self._text(row)) is not None]
        if not exact:
            found = [(row, text) for row, text in found if _covers(text, words)]
        if not found:
            return []
        query = self.cache.get_or_compute(question, embed)
        near = []
        for order, (row, text) in enumerate(found[:RANKED]):
            near.append((-similarity(query, self.cache.get_or_compute(text, embed)), order, row, text))
        near.sort()
        if not exact:
            best = -near[0][0]
            near = [one for one in near if -one[0] >= max(LOWEST, NEAR * best)]
        ranked = [(row, text) for _, _, row, text in near]
        if exact:
            ranked += found[RANKED:]
        for row, text in ranked:
            self._touch(row, text)
        return [Note(f"m{row}", text) for row, text in ranked]

    def counts(self) -> dict[Tier, int]:
        """Memories by tier.  The hot ones are warm or cold as well."""
        return {"hot": len(self._hot), "warm": self._warm, "cold": self._cold}

    def _match(self, owner: int, words: list[str], operator: str, limit: int) -> list[int]:
        terms = f" {operator} ".join(f'"{word}"' for word in words[:32])
        query = f"owner : u{owner} AND content : ({terms})"
        rows = self._store.connection.execute(
            "SELECT rowid FROM memory_index WHERE memory_index MATCH ? "
            "ORDER BY bm25(memory_index, 0.0, 1.0), rowid DESC LIMIT ?",
            (query, limit),
        )
        return [row for (row,) in rows]

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
        if len(self._touched) >= TOUCHES:
            self.flush()

    def flush(self) -> None:
        """Notes the uses of memories; those that were cold and used twice become rows again."""
        touched, self._touched = self._touched, {}
        now = time.time()
        with self._store.transaction() as db:
            for row, uses in touched.items():
                db.execute(
                    "UPDATE memories SET accesses = accesses + ?, accessed_at = ? WHERE id = ?", (uses, now, row)
                )
                found = db.execute(
                    "SELECT block_id, slot FROM memories WHERE id = ? AND block_id IS NOT NULL AND accesses >= 2",
                    (row,),
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
        if db.execute("SELECT 1 FROM memories WHERE block_id = ? LIMIT 1", (block,)).fetchone() is None:
            db.execute("DELETE FROM memory_blocks WHERE id = ?", (block,))
            self._blocks.pop(block, None)

    def _cool(self) -> None:
        """Packs the longest unused warm memories into a block, down to the cap."""
        size = self._config.cold_block
        while self._warm > self._config.warm_memories:
            with self._store.transaction() as db:
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
            self._drop_oldest_block()

    def _drop_oldest_block(self) -> None:
        with self._store.transaction() as db:
            (block,) = db.execute("SELECT min(id) FROM memory_blocks").fetchone()
            texts = self._block(block)
            rows = db.execute("SELECT id, user_id, slot FROM memories WHERE block_id = ?", (block,)).fetchall()
            # The index keeps no text: to delete from it, it must be told what it was given.
            db.executemany(
                "INSERT INTO memory_index (memory_index, rowid, owner, content) VALUES ('delete', ?, ?, ?)",
                [(row, f"u{user}", texts[slot]) for row, user, slot in rows],
            )
            db.execute("DELETE FROM memories WHERE block_id = ?", (block,))
            db.execute("DELETE FROM memory_blocks WHERE id = ?", (block,))
        for row, _, _ in rows:
            self._hot.pop(row, None)
        self._blocks.pop(block, None)
        self._cold -= len(rows)


def _covers(text: str, words: list[str]) -> bool:
    """Whether most of the words are in a text, the endings of plain words aside."""
    said = " ".join(["", *content_words(text), ""])
    stems = (f" {word[: max(4, len(word) - 2)]}" if word.isalpha() else f" {word} " for word in words)
    return 2 * sum(stem in said for stem in stems) > len(words)


def _row(identifier: str) -> int | None:
    number = identifier[1:]
    return int(number) if identifier[:1] == "m" and number.isdigit() and len(number) < 19 else None
