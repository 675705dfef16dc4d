"""Users, sessions, messages, memories, agent logs and archives in one SQLite file.

What a method stored is there after a kill -9 of the process once the method has returned: each is one transaction in
the write-ahead log.  (After a loss of power too with ``synchronous="FULL"``; NORMAL leaves the log's last commits to
the kernel.)  The tables are capped: beyond the caps of ReferenceConfig the oldest rows go, and SQLite uses their pages
again.

With FULL, what can be told in a record of its own (memories: ``keep``) waits for the sync of that record instead of the
log's, and the database gets it later: see journal.py.

All calls are short; the chat system makes them on the event loop's thread, see system.py for why.  One thread at a time
may be in them, but for ``settle``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perfsuite.compression import NamedCodec
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.reference.agents import Spent
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.context import Message
from perfsuite.reference.journal import Journal

TABLES = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at REAL NOT NULL,
    last_gone INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, user_id INTEGER NOT NULL REFERENCES users (id),
    created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    role TEXT NOT NULL, content TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS memories (
    id INTEGER PRIMARY KEY, profile_id INTEGER NOT NULL, user_id INTEGER NOT NULL REFERENCES users (id),
    content TEXT, block_id INTEGER, slot INTEGER, accesses INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL, accessed_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS memory_blocks (
    id INTEGER PRIMARY KEY, codec TEXT NOT NULL, original_bytes INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS archives (
    id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    codec TEXT NOT NULL, original_bytes INTEGER NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL,
    created_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS idx_archives_session_id ON archives (session_id);
CREATE TABLE IF NOT EXISTS agent_logs (
    id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, agent TEXT NOT NULL, model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, created_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS idx_memories_cold ON memories (block_id) WHERE block_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_memories_warm ON memories (accessed_at) WHERE block_id IS NULL;
CREATE VIRTUAL TABLE IF NOT EXISTS memory_index USING fts5 (
    content, content = '', tokenize = 'porter unicode61');
"""
FORMAT = 2
"""Of the file; kept as its ``user_version``.  Up from 1, a memory's row says whose it is (memory.py)."""
INDEXES = {
    "idx_sessions_user_id": "sessions (user_id)",
    "idx_messages_session_id": "messages (session_id)",
    "idx_memories_profile_id": "memories (profile_id)",
    "idx_agent_logs_session_id": "agent_logs (session_id)",
    "idx_memories_user_id": "memories (user_id)",
    "idx_memories_created_at": "memories (created_at)",
    "idx_messages_created_at": "messages (created_at)",
}
"""The seven indexes of the source document, by its names."""
ROTATE_EVERY = 64
"""Insertions between two looks at a table's cap."""


class Store:
    """The database.  PerfsuiteError: the file cannot be opened or written; the text names it."""

    def __init__(self, path: str | Path, config: ReferenceConfig, codec: NamedCodec) -> None:
        self.path = str(path)
        self.codec = codec
        self._config = config
        self._insertions = 0
        self._users: dict[str, int] = {}
        self._journal: Journal | None = None
        self.owed: Callable[[], None] | None = None
        """Gives the database what was kept and is not yet in it."""
        opened: sqlite3.Connection | None = None
        try:
            self.connection = opened = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA foreign_keys = ON")
            self.connection.execute("PRAGMA cache_size = -8192")
            fresh = self._check_format()
            self.connection.executescript(TABLES)
            if config.indexes:
                self.create_indexes()
            self.connection.execute(f"PRAGMA synchronous = {config.synchronous}")
            self._open_journal(fresh)
        except PerfsuiteError:
            assert opened is not None
            opened.close()
            raise
        except OSError as error:
            assert opened is not None
            opened.close()
            raise PerfsuiteError(f"cannot open the journal of {self.path}: {error}") from error
        except sqlite3.Error as error:
            if opened is not None:
                opened.close()
            if "fts5" in str(error):
                raise UsageError("the reference system needs SQLite with FTS5, which this Python's lacks") from error
            raise PerfsuiteError(f"cannot open the database {self.path}: {error}") from error

    def _check_format(self) -> bool:
        """Whether the file is new.  Refuses one of another form, before anything is written into it."""
        found = self.connection.execute("PRAGMA user_version").fetchone()[0]
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and found != FORMAT:
            raise PerfsuiteError(
                f"the database {self.path} has form {found}, this version writes form {FORMAT}: name another file"
            )
        self.connection.execute(f"PRAGMA user_version = {FORMAT}")
        return not tables

    def _open_journal(self, fresh: bool) -> None:
        """With FULL, for a file.  What is left there of a process that was killed is for ``kept``, whatever is set now;
        of another file that had this name it is nothing."""
        path = f"{self.path}-kept"
        in_file = self.connection.execute("PRAGMA database_list").fetchone()[2]
        if in_file and (self._config.synchronous == "FULL" or os.path.exists(path)):
            self._journal = Journal(path)
            if fresh:
                self._journal.clear()

    def kept(self) -> Iterator[bytes]:
        """The records of ``keep`` that the database may lack, in order.  To be gone through to the end, before anything
        else is stored."""
        self.catch_up()
        if self._journal is not None:
            yield from self._journal.records()
            self.sync()

    def keeps(self, size: int) -> bool:
        """Whether a ``passing`` transaction with a record of so many bytes is a way to be durable now: with FULL, on
        its own."""
        return (
            self._config.synchronous == "FULL"
            and self._journal is not None
            and self._journal.takes(size)
            and not self.connection.in_transaction
        )

    def keep(self, record: bytes) -> int:
        """Writes a record down; once ``settle`` has returned of the number that this returns, ``kept`` gives it until
        the database has what it tells on the disk too."""
        assert self._journal is not None
        try:
            number = self._journal.add(record)
            if number is None:
                self.sync()
                number = self._journal.add(record)
        except OSError as error:
            raise self._unwritten(error) from error
        assert number is not None  # ``keeps`` said that it takes a record of that size
        return number

    def settle(self, number: int) -> None:
        """Returns when a record of ``keep`` is on the disk.  May be called by several threads at once: one sync is of
        all their records."""
        assert self._journal is not None
        try:
            self._journal.sync(number)
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> PerfsuiteError:
        return PerfsuiteError(f"cannot write the journal of {self.path}: {error}")

    def catch_up(self) -> None:
        """The database gets what it is owed, unless a transaction is under way: before one begins, it is owed
        nothing."""
        if self.owed is not None and not self.connection.in_transaction:
            self.owed()

    def sync(self) -> None:
        """Returns when all that was committed, or kept, is on the disk in the database."""
        self.catch_up()
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute(f"PRAGMA user_version = {FORMAT}")  # the sync of a commit is of all before it too
        self.connection.execute(f"PRAGMA synchronous = {self._config.synchronous}")
        if self._journal is not None:
            self._journal.clear()

    def create_indexes(self) -> None:
        """The seven named indexes."""
        for name, columns in INDEXES.items():
            self.connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {columns}")

    def drop_indexes(self) -> None:
        """Takes the seven named indexes away again, to measure what they are worth."""
        for name in INDEXES:
            self.connection.execute(f"DROP INDEX IF EXISTS {name}")

    @contextmanager
    def passing(self) -> Iterator[sqlite3.Connection]:
        """A transaction whose loss with the machine's power is of no account: its commit waits for no disk."""
        if self.connection.in_transaction or self._config.synchronous != "FULL":
            with self.transaction() as db:
                yield db
            return
        self.connection.execute("PRAGMA synchronous = NORMAL")
        try:
            with self.transaction() as db:
                yield db
        finally:
            self.connection.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; committed when the block ends.  Within another one, a part of it."""
        if self.connection.in_transaction:
            yield self.connection
            return
        self.catch_up()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise PerfsuiteError(f"cannot write to the database {self.path}: {error}") from error
            raise

    def user(self, name: str) -> int:
        """The row of a user, made when it is new."""
        known = self._users.get(name)
        if known is None:
            row = self.connection.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()
            if row is None:
                with self.transaction() as db:
                    known = db.execute(
                        "INSERT INTO users (name, created_at) VALUES (?, ?)", (name, time.time())
                    ).lastrowid
            else:
                known = row[0]
            assert known is not None
            if not self.connection.in_transaction:  # else it may yet be rolled back
                if len(self._users) >= self._config.max_users:
                    self._users.clear()
                self._users[name] = known
        return known

    def session(self, name: str, user: str) -> int:
        """The row of a session, made when it is new; beyond the cap the oldest session goes."""
        row = self.connection.execute("SELECT id FROM sessions WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return int(row[0])
        owner = self.user(user)
        with self.transaction() as db:
            made = db.execute(
                "INSERT INTO sessions (name, user_id, created_at) VALUES (?, ?, ?)", (name, owner, time.time())
            ).lastrowid
            self._insertions += 1
            if self._insertions % ROTATE_EVERY == 0:
                db.execute(
                    "DELETE FROM sessions WHERE id <= (SELECT max(id) FROM sessions) - ?", (self._config.max_sessions,)
                )
        assert made is not None
        return made

    def add_messages(self, session: int, messages: Iterable[Message], spent: Iterable[Spent] = ()) -> None:
        """Stores messages and what the agents spent on them, at once."""
        now = time.time()
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO messages (session_id, role, content, created_at) VALUES (?, ?, ?, ?)",
                [(session, message["role"], str(message["content"]), now) for message in messages],
            )
            self.log(session, spent)

    def log(self, session: int, spent: Iterable[Spent]) -> None:
        """Logs what agents spent; beyond the cap the oldest lines go."""
        now = time.time()
        with self.transaction() as db:
            for one in spent:
                row = db.execute(
                    "INSERT INTO agent_logs (session_id, agent, model, prompt_tokens, completion_tokens, created_at) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (session, one.agent, one.model, one.prompt_tokens, one.completion_tokens, now),
                ).lastrowid
                if row is not None and row % ROTATE_EVERY == 0:
                    db.execute("DELETE FROM agent_logs WHERE id <= ?", (row - self._config.max_agent_logs,))

    def recent_messages(self, session: int, limit: int) -> list[Message]:
        """The newest messages of a session that are not archived, oldest first."""
        rows = self.connection.execute(
            "SELECT role, content FROM messages WHERE session_id = ? ORDER BY id DESC LIMIT ?", (session, limit)
        ).fetchall()
        return [{"role": role, "content": content} for role, content in reversed(rows)]

    def archive(self, session: int, messages: Sequence[Message]) -> None:
        """Puts messages into compressed storage; beyond the cap the oldest archives go."""
        data = json.dumps(messages, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=16).digest()
        row = (session, self.codec.name, len(data), digest, self.codec.compress(data), time.time())
        with self.transaction() as db:
            made = db.execute(
                "INSERT INTO archives (session_id, codec, original_bytes, digest, data, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                row,
            ).lastrowid
            if made is not None and made % ROTATE_EVERY == 0:
                db.execute("DELETE FROM archives WHERE id <= ?", (made - self._config.max_archives,))

    def archive_older(self, session: int, keep: int) -> int:
        """Moves all but the newest ``keep`` messages of a session into compressed storage; returns how many."""
        rows = self.connection.execute(
            "SELECT id, role, content FROM messages WHERE session_id = ? ORDER BY id", (session,)
        ).fetchall()
        moved = rows[: max(0, len(rows) - keep)]
        if moved:
            with self.transaction() as db:
                self.archive(session, [{"role": role, "content": content} for _, role, content in moved])
                db.execute("DELETE FROM messages WHERE session_id = ? AND id <= ?", (session, moved[-1][0]))
        return len(moved)

    def transcript(self, name: str) -> list[Message]:
        """Everything that is stored of a session, oldest first."""
        found: list[Message] = []
        query = (
            "SELECT data FROM archives JOIN sessions ON sessions.id = session_id WHERE name = ? ORDER BY archives.id"
        )
        for (data,) in self.connection.execute(query, (name,)).fetchall():
            found += json.loads(self.codec.decompress(data).decode("utf-8", "surrogatepass"))
        row = self.connection.execute("SELECT id FROM sessions WHERE name = ?", (name,)).fetchone()
        return found + (self.recent_messages(row[0], -1) if row is not None else [])

    def pages_bytes(self) -> int:
        """What the database has taken, its indexes and free pages included."""
        (pages,), (size,) = (
            self.connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        return int(pages * size)

    def archives(self, minimum_bytes: int = 0) -> Iterator[tuple[bytes, bytes]]:
        """(original, stored) bytes of each archive, newest first.

        The original is what the digest taken before compression says it was.  Where the stored bytes no longer give
        it, zeros of its length stand in for it, so that no comparison takes damage for the original.
        """
        rows = self.connection.execute(
            "SELECT id FROM archives WHERE original_bytes >= ? ORDER BY id DESC", (minimum_bytes,)
        ).fetchall()
        for (row,) in rows:
            found = self.connection.execute(
                "SELECT original_bytes, digest, data FROM archives WHERE id = ?", (row,)
            ).fetchone()
            if found is None:
                continue  # it went meanwhile
            size, digest, stored = found
            try:
                original = self.codec.decompress(stored)
            except Exception:  # noqa: BLE001 - each codec has its own errors for damaged data
                original = b""
            if hashlib.blake2b(original, digest_size=16).digest() != digest:
                original = bytes(size)
            yield original, stored

    def spent_by_agent(self) -> dict[str, tuple[str, int, int]]:
        """By agent: the model it used last, and its prompt and completion tokens in the log."""
        rows = self.connection.execute(
            "SELECT agent, model, sum(prompt_tokens), sum(completion_tokens), max(id) FROM agent_logs GROUP BY agent"
        )
        return {agent: (model, prompt, completion) for agent, model, prompt, completion, _ in rows}

    def spent_in(self, name: str) -> list[Spent]:
        """What the agents spent in a session, oldest first, as far as the log goes back."""
        rows = self.connection.execute(
            "SELECT agent, model, prompt_tokens, completion_tokens FROM agent_logs "
            "WHERE session_id = (SELECT id FROM sessions WHERE name = ?) ORDER BY id",
            (name,),
        )
        return [Spent(*row) for row in rows]

    def count(self, table: str) -> int:
        """Rows of a table."""
        if table not in ("users", "sessions", "messages", "memories", "memory_blocks", "archives", "agent_logs"):
            raise ValueError(f"there is no table {table!r}")
        self.catch_up()
        return int(self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def close(self) -> None:
        """Closes the file, with all of it on the disk where that was asked for."""
        if self._journal is None:
            self.owed = None
            self.connection.close()
            return
        try:
            self.sync()
        except BaseException:
            self._journal.close(remove=False)
            raise
        finally:
            self.owed = None
            self.connection.close()
        self._journal.close(remove=True)
