"""Any database by its URL: SQLite without one, PostgreSQL and others through SQLAlchemy."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsuite.database.trouble import DatabaseError, trouble_of
from perfsuite.errors import MissingExtra, PerfsuiteError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

PATIENCE_S = 5.0
"""How long a statement waits for another connection's lock: what Python's sqlite3 waits by itself."""
CONNECT_S = 10.0
"""How long a server may take to let a connection in."""
_SQLITE_FILES = (".db", ".db3", ".sqlite", ".sqlite3")
_DRIVERS = {"postgresql": "postgresql+psycopg"}


class Opened:
    """A database by its URL.  ``name`` is its URL without the password, ``file`` its file where it is an SQLite one,
    ``new`` whether that was not there."""

    def __init__(self, url: str, *, ours: bool = False) -> None:
        """``url``: an SQLAlchemy URL, or the path of an SQLite file.  ``ours``: made for this run, so that its settings
        are a service's (write-ahead log) and not the file's.  Connects to nothing; raises UsageError."""
        self._url = _read(url)
        self.dialect = self._url.get_backend_name()
        self.file = Path(self._url.database) if self.dialect == "sqlite" and self._url.database else None
        if self.dialect == "sqlite" and (self.file is None or str(self.file) == ":memory:"):
            raise UsageError("each connection to an SQLite database in memory has its own: give a file, sqlite:///FILE")
        self.new = self.file is not None and not self.file.exists()
        self.name = self._url.render_as_string(hide_password=True)
        self.ours = ours
        self.engine = self._make_engine()

    @contextlib.contextmanager
    def connected(self, *, autocommit: bool = False) -> Iterator[sa.Connection]:
        """A connection of its own, in a transaction that is committed at the end unless each statement is one.

        Raises DatabaseError for whatever the database has against it.
        """
        with self.explained():
            if autocommit:
                with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    yield connection
            else:
                with self.engine.begin() as connection:
                    yield connection

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of SQLAlchemy and its drivers as DatabaseError."""
        import sqlalchemy as sa

        try:
            yield
        except PerfsuiteError:
            raise
        except sa.exc.SQLAlchemyError as error:
            raise DatabaseError(self.name, trouble_of(error)) from error

    def reveal(self) -> str:
        """The URL, with the password."""
        return self._url.render_as_string(hide_password=False)

    def tables(self) -> list[str]:
        """The names of its tables.  Raises DatabaseError."""
        import sqlalchemy as sa

        with self.connected() as connection:
            return sa.inspect(connection).get_table_names()

    def version(self) -> str:
        """The server and its version."""
        with self.connected() as connection:
            found = connection.dialect.server_version_info or ()
            return f"{connection.dialect.name} {'.'.join(map(str, found))}"

    def close(self) -> None:
        """Lets go of it."""
        self.engine.dispose()

    def _make_engine(self) -> sa.Engine:
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool

        options: dict[str, Any] = {}
        if self.dialect == "sqlite":
            options["connect_args"] = {"timeout": PATIENCE_S}
        elif self.dialect == "postgresql":
            if not logging.getLogger("psycopg").handlers:  # else, with none anywhere, Python writes to the screen what
                logging.getLogger("psycopg").addHandler(logging.NullHandler())  # is raised as well
            options["connect_args"] = {"connect_timeout": int(CONNECT_S)}
        try:
            engine = sa.create_engine(self._url, poolclass=NullPool, **options)
        except ModuleNotFoundError as error:
            driver = error.name or "its driver"
            if self.dialect == "postgresql":
                raise MissingExtra(driver, "postgres", f"the database {self.name}") from error
            raise UsageError(f"the database {self.name} needs {driver}, which is not installed") from error
        except (sa.exc.ArgumentError, ValueError) as error:
            raise UsageError(f"{self.name} is no database that SQLAlchemy knows: {error}") from error
        if self.dialect == "sqlite" and self.ours:
            sa.event.listen(engine, "connect", _as_a_service)
        return engine


def _read(url: str) -> sa.URL:
    import sqlalchemy as sa

    if "://" not in url:
        if not _names_a_file(url):
            raise UsageError(
                "--url is neither a URL nor a file that is there: write sqlite:///FILE, ./FILE for a new one, or "
                "postgresql://USER@HOST/NAME"
            )
        return sa.URL.create("sqlite", database=str(Path(url).expanduser().absolute()))
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise UsageError(
            "--url is none that SQLAlchemy reads: write sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from error
    if parsed.drivername in ("postgres", "postgresql"):  # without a driver's name SQLAlchemy means psycopg2
        parsed = parsed.set(drivername=_DRIVERS["postgresql"])
    return parsed


def _names_a_file(text: str) -> bool:
    """A mistyped host or name is no path to make an SQLite file at."""
    return (
        text.startswith(("/", "./", "../", "~/")) or Path(text).suffix.lower() in _SQLITE_FILES or Path(text).is_file()
    )


def _as_a_service(connection: Any, _record: object) -> None:
    """Readers that do not wait for writers, and commits that the kernel keeps: how a service opens SQLite."""
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
    finally:
        cursor.close()
