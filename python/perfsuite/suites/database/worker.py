"""The workers' processes: ``python -m perfsuite.suites.database.worker FD,FD,…``; crew.py starts it.

Each worker is a process: in threads of one, a query of 20 µs would wait up to 5 ms for Python's lock, and that would be
taken for the database's time.  The first process imports SQLAlchemy once and forks the others before it has a thread or
a connection.  A worker ends when its pipe does.
"""

from __future__ import annotations

import os
import random
import sys
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from perfsuite.database.opening import Opened
from perfsuite.database.trouble import lost, trouble_of
from perfsuite.suites.database.work import Done, Opening, Work

if TYPE_CHECKING:
    import sqlalchemy as sa

    from perfsuite.database.queries import Value

AFTER_LOSS_S = 0.05
"""Before the next try when the connection is lost: a server that restarts is not hammered."""
AT_A_TIME = 1_000
"""Rows that are fetched at once."""

CANNOT_WRITE = {
    "sqlite": ("PRAGMA query_only=0", "PRAGMA query_only=1"),
    "postgresql": ("SET default_transaction_read_only = off", "SET default_transaction_read_only = on"),
    "mysql": ("SET SESSION TRANSACTION READ WRITE", "SET SESSION TRANSACTION READ ONLY"),
    "mariadb": ("SET SESSION TRANSACTION READ WRITE", "SET SESSION TRANSACTION READ ONLY"),
}
"""What makes a connection write, and what keeps it from writing, by dialect."""


def main() -> None:
    """One process for each pipe; returns when all have ended."""
    numbers = [int(number) for number in sys.argv[1].split(",")]
    import sqlalchemy  # noqa: F401 - once, for all that are forked

    children = []
    for number in numbers:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for other in numbers:
                    if other != number:
                        os.close(other)
                Worker(Connection(number)).serve()
                status = 0
            except KeyboardInterrupt:
                pass
            finally:
                os._exit(status)
        children.append(child)
    for number in numbers:
        os.close(number)
    for child in children:
        os.waitpid(child, 0)


class Worker:
    """Runs queries over one connection, which it makes again when it is lost."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        opening = pipe.recv()
        assert isinstance(opening, Opening)
        self._number = opening.number
        self._database = Opened(opening.url, ours=opening.ours)
        self._connection: sa.Connection | None = None
        self._writes: bool | None = None

    def serve(self) -> None:
        """Says that it is there, and does what it is asked to until nobody asks any more."""
        self._pipe.send(os.getpid())
        while True:
            try:
                work = self._pipe.recv()
            except EOFError:
                return
            self._pipe.send(self._do(work))

    def _do(self, work: Work) -> Done:
        import sqlalchemy as sa

        statement = sa.text(work.query.sql)
        rng = random.Random(f"{work.seed} {self._number}")
        done = Done()
        time.sleep(max(0.0, (work.start_ns - time.monotonic_ns()) / 1e9))
        begun = time.monotonic_ns()
        until = begun + int(work.seconds * 1e9)
        now = begun
        while True:
            self._once(statement, work.query.draw(rng), work.query.writes, done)
            now = time.monotonic_ns()
            if now >= until:
                break
        done.seconds = (now - begun) / 1e9
        return done

    def _once(self, statement: sa.TextClause, values: dict[str, Value], writes: bool, done: Done) -> None:
        """One run of the query; what it takes to connect again is no part of it."""
        import sqlalchemy as sa

        before = time.perf_counter_ns()
        try:
            connection = self._connected(writes)
            before = time.perf_counter_ns()
            result = connection.execute(statement, values)
            rows = 0
            if result.returns_rows:
                for part in result.partitions(AT_A_TIME):
                    rows += len(part)
            took = time.perf_counter_ns() - before
        except sa.exc.SQLAlchemyError as error:
            found = trouble_of(error)
            done.fail(found.kind, found.text, (time.perf_counter_ns() - before) / 1e6)
            if not isinstance(error, sa.exc.DBAPIError) or lost(error) or self._connection is None:
                self._let_go()
                time.sleep(AFTER_LOSS_S)
            return
        done.times.record(took / 1e6)
        done.rows += rows

    def _connected(self, writes: bool) -> sa.Connection:
        """The connection; each statement in it is a transaction, which can write only where it is to."""
        if self._connection is None:
            self._connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._writes = None
        if self._writes is not writes:
            switch = CANNOT_WRITE.get(self._database.dialect)
            if switch is not None:
                self._connection.exec_driver_sql(switch[0 if writes else 1])
            self._writes = writes
        return self._connection

    def _let_go(self) -> None:
        import contextlib

        import sqlalchemy as sa

        if self._connection is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None


if __name__ == "__main__":
    main()
