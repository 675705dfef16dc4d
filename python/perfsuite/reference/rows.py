"""Memories as rows of the database, and as the record of them that is durable before they are rows.

A memory's row is its owner's number and its own (retrieval.py says why).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from perfsuite.reference.retrieval import OWNER_BITS, rows_of


class Row(NamedTuple):
    """A memory as it is stored."""

    id: int
    owner: int
    stored_at: float
    text: str


def row_of(identifier: str) -> int | None:
    """The row that an id means; None where it is none of ours."""
    number = identifier[1:]
    return int(number) if identifier[:1] == "m" and number.isdigit() and len(number) < 19 else None


def unused(db: sqlite3.Connection, owner: int) -> int:
    """The owner's next row: no memory has it, and none that is gone had it."""
    newest, gone = db.execute(
        "SELECT (SELECT max(id) FROM memories WHERE id BETWEEN ? AND ?), last_gone FROM users WHERE id = ?",
        (*rows_of(owner), owner),
    ).fetchone()
    return int(max(newest or owner << OWNER_BITS, gone)) + 1


def insert(db: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Puts memories into the table and into the index, in the order of their ids: full text is quicker by far so."""
    db.executemany(
        "INSERT INTO memories (id, profile_id, user_id, content, created_at, accessed_at) VALUES (?, ?, ?, ?, ?, ?)",
        ((row, owner, owner, text, at, at) for row, owner, at, text in rows),
    )
    db.executemany("INSERT INTO memory_index (rowid, content) VALUES (?, ?)", ((row.id, row.text) for row in rows))


def record(user: str, owner: int, start: int, now: float, texts: Sequence[str]) -> bytes:
    """What the journal keeps of memories that were stored together; ``json.loads`` gives the arguments."""
    return json.dumps([user, owner, start, now, texts], ensure_ascii=False).encode()
