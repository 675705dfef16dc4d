"""The database of a history: where it is, how it is opened, and its errors in words."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsuite.errors import MissingExtra, PerfsuiteError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

PATIENCE_S = 30.0
"""How long a write waits for another one's lock."""
WRITERS_LOCK = 0x7065726673756974
"""The advisory lock that writers take in PostgreSQL: "perfsuit"."""


class HistoryError(PerfsuiteError):
    """The history cannot be used; the message says why, and what to do."""


def default_place() -> Path:
    """``$XDG_DATA_HOME/perfsuite/history.db``, by default in ``~/.local/share``."""
    base = os.environ.get("XDG_DATA_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share"
    return folder / "perfsuite" / "history.db"


class Database:
    """An SQLAlchemy database; nothing is opened or made until it is read or written.

    ``name`` is what messages call it; ``file`` its file, of an SQLite one.
    """

    def __init__(self, url: str | None = None) -> None:
        """``url``: an SQLAlchemy URL, or the path of an SQLite file; None: ``default_place()``.  Raises UsageError for
        what is no URL, and where a driver is missing."""
        self.file, self._url = _located(url)
        self.name = str(self.file) if self.file is not None else self._url.render_as_string(hide_password=True)
        self._engine = self._make_engine()

    @property
    def exists(self) -> bool:
        """Whether there is something to read; a server's database is taken to be there."""
        return self.file is None or self.file.exists()

    def close(self) -> None:
        """Closes its connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction, which has the writers' lock from its beginning.  Raises HistoryError."""
        if self.file is not None:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise HistoryError(f"cannot make {self.file.parent}: {error.strerror or error}") from error
        with self._explained(), self._engine.begin() as connection:
            backend = self._url.get_backend_name()
            if backend == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            elif backend == "postgresql":
                # Two that make the tables at once, or write the same run, would both find them missing.
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE_S:g}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read by, of a folder too that may not be written to.  Raises HistoryError, where there is
        nothing to read too."""
        if not self.exists:
            raise HistoryError(f"there is no history at {self.name} yet: perfsuite run makes one")
        with self._explained(), self._readable() as engine, engine.connect() as connection:
            if self._url.get_backend_name() == "sqlite":
                # A reader needs no lock; it would take the writers' one.
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection

    @contextlib.contextmanager
    def _readable(self) -> Iterator[sa.Engine]:
        """What is read by: the engine, unless its write-ahead files could not be made beside the file."""
        file = self.file
        if file is None or (os.access(file.parent, os.W_OK) and os.access(file, os.W_OK)):
            yield self._engine
            return
        import sqlite3

        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool

        with _uri_of_unwritable(file) as uri:
            engine = sa.create_engine(
                "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=PATIENCE_S), poolclass=NullPool
            )
            try:
                yield engine
            finally:
                engine.dispose()

    def _make_engine(self) -> sa.Engine:
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool

        options: dict[str, Any] = {}
        if self._url.get_backend_name() == "sqlite":
            options["connect_args"] = {"timeout": PATIENCE_S}
        try:
            engine = sa.create_engine(self._url, poolclass=NullPool, **options)
        except ModuleNotFoundError as error:
            driver = error.name or "its driver"
            if self._url.get_backend_name() == "postgresql":
                raise MissingExtra(driver, "postgres", f"a history at {self.name} (postgresql+psycopg://…)") from error
            raise UsageError(f"a history at {self.name} needs {driver}, which is not installed") from error
        except (sa.exc.ArgumentError, ValueError) as error:
            raise UsageError(f"{self.name} is no database: {error}") from error
        if self._url.get_backend_name() == "sqlite":
            sa.event.listen(engine, "connect", _prepare)
        return engine

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the database in words."""
        import sqlalchemy as sa

        try:
            yield
        except sa.exc.DBAPIError as error:
            raise HistoryError(self._words(str(error.orig))) from error
        except sa.exc.SQLAlchemyError as error:
            raise HistoryError(f"the history {self.name} cannot be used: {error}") from error

    def _words(self, text: str) -> str:
        text = " ".join(text.split())
        if "locked" in text or "busy" in text or "lock timeout" in text:
            return f"the history {self.name} was locked by another program for {PATIENCE_S:g} s"
        if "not a database" in text or "malformed" in text:
            return (
                f"the history {self.name} is damaged ({text}): move it away; perfsuite history add FILE… puts results "
                "that are still there into a new one"
            )
        if "no such table" in text or "perfsuite_meta" in text:
            # Whatever the server calls it: the table that is read first is not there.
            return f"{self.name} is a database, but no history of perfsuite's"
        if "readonly" in text or "unable to open" in text or "full" in text:
            return f"the history {self.name} cannot be written or opened: {text}; name another with --history"
        return f"the history {self.name} cannot be used: {text}"


def _located(url: str | None) -> tuple[Path | None, sa.URL]:
    """The file of an SQLite history, if it is one, and the URL."""
    try:
        import sqlalchemy as sa
    except ModuleNotFoundError as error:
        raise MissingExtra("SQLAlchemy", "history", "the history") from error

    if url is None:
        url = str(default_place())
    if "://" not in url:
        file = Path(url).expanduser().absolute()
        return file, sa.URL.create("sqlite", database=str(file))
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise UsageError(
            "the history is no URL that SQLAlchemy reads: write sqlite:///FILE or postgresql+psycopg://…"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        return Path(parsed.database).absolute(), parsed
    return None, parsed


@contextlib.contextmanager
def _uri_of_unwritable(file: Path) -> Iterator[str]:
    """By which SQLite reads a file that it can neither lock nor make write-ahead files for.

    Where a program has it open, that one's files are shared.  Else nobody writes it, and it may be read as it is; a log
    that was left behind and never carried over (the file was copied, or its writer killed) is read in a copy of both.
    """
    import shutil
    import sqlite3

    from perfsuite.scratch import scratch_folder

    plain = f"{file.as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(plain, uri=True, timeout=PATIENCE_S)) as trial:
            trial.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error:
        pass  # what else is wrong with it is said where it is read
    else:
        yield plain
        return
    log = file.with_name(f"{file.name}-wal")
    if not (log.exists() and log.stat().st_size):
        yield f"{plain}&immutable=1"
        return
    with scratch_folder("history") as folder:
        copy = folder / file.name
        try:
            shutil.copyfile(file, copy)
            shutil.copyfile(log, copy.with_name(log.name))
        except OSError as error:
            raise HistoryError(f"the history {file} cannot be read: {error.strerror or error}") from error
        yield copy.as_uri()


def _prepare(connection: Any, _record: object) -> None:
    """A connection to SQLite: transactions by hand, readers that do not wait for writers, writers that wait."""
    import sqlite3

    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA foreign_keys=ON")
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            deadline = time.monotonic() + PATIENCE_S
            while True:
                try:
                    cursor.execute("PRAGMA journal_mode=WAL")  # where a file system has none the old mode stays
                    break
                except sqlite3.OperationalError as error:
                    # To change the mode SQLite does not wait for other connections as it does for everything else.
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
    finally:
        cursor.close()
