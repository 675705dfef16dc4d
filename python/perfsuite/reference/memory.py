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

Bounds: whatever is held in memory has a fixed number of entries, and a call reads a bounded number of rows, however
many memories there are.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from itertools import islice
from typing import Literal, NamedTuple

from perfsuite._core import LRUCache
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.context import Note
from perfsuite.reference.embedding import embed, similarity
from perfsuite.reference.retrieval import OWNER_BITS, Found, Index, rows_of, words_of
from perfsuite.reference.store import Store

Tier = Literal["hot", "warm", "cold"]
RANKED = 24
"""Memories that are ranked by embedding; those beyond keep their order by full text."""
RECALLED = 12
"""Memories that ``recall`` ranks by embedding, unless twice as many as are asked for are more."""
NEAR = 0.6
"""Of the best similarity: a memory with only some of the words must be that near."""
LOWEST = 0.3
"""Similarity below which a memory with only some of the words is not about the question."""
SAME = 0.75
"""Of its words: a memory that has more of another's is about the same."""
BEHIND = 0.99
"""Of the least similarity of those that the question's words do not tell from it: what was corrected has that."""
TOUCHES = 1024
"""Uses of memories that wait to be noted with the next store."""
NOTED = 64
"""Uses that are noted together."""
EMBEDDED_AT_ONCE = 16
"""Memories that are embedded as they are stored, for they are likely to be asked for; those of a larger batch are when
they are."""
OPEN_BLOCKS = 8


class Recalled(NamedTuple):
    """A memory and how near it is to the question: the mean of the share of the question's words that it has, rare ones
    weighing more, and the cosine of the embeddings; less where a newer one seems to correct it."""

    id: str
    text: str
    score: float


class Memories:
    """The memories of all users."""

    def __init__(self, store: Store, config: ReferenceConfig) -> None:
        self._store = store
        self._config = config
        self._index = Index(store.connection)
        self._hot: LRUCache[int, str] = LRUCache(config.hot_memories)
        self._blocks: LRUCache[int, list[str]] = LRUCache(OPEN_BLOCKS)
        self._touched: dict[int, int] = {}
        self._count()
        self._store_again()
        from perfsuite.embeddings import EmbeddingCache

        self.cache = EmbeddingCache(maxsize=config.embedding_entries)

    def add(self, user: str, texts: Sequence[str]) -> list[str]:
        """Stores memories, all or none, at once; returns their ids.  They can be found when this returns."""
        owner = self._store.user(user)
        now = time.time()
        keeps = self._store.keeps(sum(map(len, texts)))
        try:
            with self._store.passing() if keeps else self._store.transaction() as db:
                start = self._unused(db, owner)
                self._insert(db, owner, start, now, texts)
                self._note(db, NOTED)
                if self._warm > self._config.warm_memories + self._config.cold_block:
                    self._cool(db)
            if keeps:
                self._store.keep(json.dumps([user, owner, start, now, texts], ensure_ascii=False).encode())
        except BaseException:
            self._count()  # what the transaction had moved is where it was
            raise
        newest = len(texts) - self._config.hot_memories
        for row, text in enumerate(texts[max(0, newest) :], start + max(0, newest)):
            self._hot[row] = text
        if self._config.embeds_stored and len(texts) <= EMBEDDED_AT_ONCE:
            for text in texts:
                self.cache.get_or_compute(text, embed)
        return [f"m{row}" for row in range(start, start + len(texts))]

    def _insert(self, db: sqlite3.Connection, owner: int, start: int, now: float, texts: Sequence[str]) -> None:
        db.executemany(
            "INSERT INTO memories (id, profile_id, user_id, content, created_at, accessed_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            ((row, owner, owner, text, now, now) for row, text in enumerate(texts, start)),
        )
        db.executemany("INSERT INTO memory_index (rowid, content) VALUES (?, ?)", enumerate(texts, start))
        self._warm += len(texts)

    def _store_again(self) -> None:
        """Stores what the database lost with the machine's power.  It lost the last commits and none before them: a row
        that is missing, with a later one there or gone, was let go of."""
        for record in self._store.kept():
            user, owner, start, now, texts = json.loads(record)
            with self._store.transaction() as db:
                db.execute("INSERT OR IGNORE INTO users (id, name, created_at) VALUES (?, ?, ?)", (owner, user, now))
                known = self._unused(db, owner) - start
                if known < len(texts):
                    self._insert(db, owner, start + max(0, known), now, texts[max(0, known) :])

    @staticmethod
    def _unused(db: sqlite3.Connection, owner: int) -> int:
        """The owner's next row: no memory has it, and none that is gone had it."""
        newest, gone = db.execute(
            "SELECT (SELECT max(id) FROM memories WHERE id BETWEEN ? AND ?), last_gone FROM users WHERE id = ?",
            (*rows_of(owner), owner),
        ).fetchone()
        return int(max(newest or owner << OWNER_BITS, gone)) + 1

    def _count(self) -> None:
        db = self._store.connection
        self._warm = int(db.execute("SELECT count(*) FROM memories WHERE block_id IS NULL").fetchone()[0])
        self._cold = self._store.count("memories") - self._warm

    def get(self, identifier: str) -> str | None:
        """A memory's text, or None when there is none of that id.  A use of it."""
        row = _row(identifier)
        text = None if row is None else self._text(row)
        if row is not None and text is not None:
            self._touch(row, text)
        return text

    def update(self, identifier: str, text: str) -> bool:
        """Gives a memory another text, at once; it keeps its id and its age.  False: there is none of that id."""
        row = _row(identifier)
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

    def delete(self, identifier: str) -> bool:
        """Forgets a memory for good.  False: there is none of that id."""
        row = _row(identifier)
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
            found = [(row, text) for row, text in found if _covers(text, words)]
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
        nearness = self._nearness(question, list(newest))
        for index in _superseded(known):
            share = known[index][0].share
            nearness[index] = BEHIND * min(
                near for (one, _), near in zip(known, nearness, strict=True) if one.share == share
            )
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


def _covers(text: str, words: list[str]) -> bool:
    """Whether most of the words are in a text, the endings of plain words aside."""
    said = " ".join(["", *words_of(text), ""])
    stems = (f" {word[: max(4, len(word) - 2)]}" if word.isalpha() else f" {word} " for word in words)
    return 2 * sum(stem in said for stem in stems) > len(words)


def _superseded(known: list[tuple[Found, str]]) -> list[int]:
    """Indexes of those that a newer one seems to correct: it has the same of the question's words, and most of the
    others too, one aside for what is new."""
    stale = []
    words = [set(words_of(text)) for _, text in known]
    for index, ((old, _), said) in enumerate(zip(known, words, strict=True)):
        for (new, _), again in zip(known, words, strict=True):
            if new.row <= old.row or new.share != old.share or said <= again or again <= said:
                continue
            if len(said & again) > SAME * (min(len(said), len(again)) - 1):
                stale.append(index)
                break
    return stale


def _row(identifier: str) -> int | None:
    number = identifier[1:]
    return int(number) if identifier[:1] == "m" and number.isdigit() and len(number) < 19 else None
