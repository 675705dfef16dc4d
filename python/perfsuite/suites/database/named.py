"""A user's own queries under concurrent workers: nothing is made, and nothing is written unless a query says so."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING

from perfsuite.database.queries import NamedQuery, read_queries
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.evidence import Evidence, NotMeasured
from perfsuite.suites.database.crew import LONGEST_SLICE_S, SHORTEST_SLICE_S, Crew
from perfsuite.suites.database.tally import Tally, errors, rate
from perfsuite.suites.database.worker import CANNOT_WRITE

if TYPE_CHECKING:
    from perfsuite.database.opening import Opened
    from perfsuite.suites.session import Session

TURNS = 3
"""Slices of each query, at least."""


async def measure_named(session: Session, database: Opened) -> Mapping[str, Evidence]:
    """Evidence for ``named_query_time``, ``query_rate`` and ``database_errors``."""
    assert session.database.queries is not None
    queries = read_queries(session.database.queries)
    if database.file is not None and not database.file.exists():
        raise UsageError(f"--queries: there is no database {database.file}; name its URL with --url")
    for query in queries:
        if not query.writes and database.dialect not in CANNOT_WRITE:
            raise UsageError(
                f"{session.database.queries}: nothing here keeps a connection to {database.dialect} from writing: say "
                f"writes = true for {query.name!r}, where it may"
            )
    study = _Study(session, database, queries)
    try:
        await asyncio.to_thread(study.make)
    except UsageError:
        raise
    except PerfsuiteError as error:
        study.lost = error
        session.fail(str(error))
    return study.evidence()


class _Study:
    def __init__(self, session: Session, database: Opened, queries: list[NamedQuery]) -> None:
        self.session = session
        self.database = database
        self.queries = queries
        self.tallies = {query.name: Tally(session) for query in queries}
        self.whole = Tally(session)
        self.plans: dict[str, str | None] = {}
        self.details: dict[str, object] = {"workers": session.database.workers, "through": "SQLAlchemy Core"}
        self.lost: PerfsuiteError | None = None

    def make(self) -> None:
        """Each query in turn until the time is over; its plan first."""
        session = self.session
        self.details["database"] = self.database.version()
        for query in self.queries:
            self.plans[query.name] = self._plan(query)
        turns = TURNS * len(self.queries)
        length = min(LONGEST_SLICE_S, max(SHORTEST_SLICE_S, session.duration_s / turns))
        with Crew(self.database, session.database.workers) as crew:
            session.own_processes.update(crew.up())
            number = 0
            while not session.stop.is_set() and (number < turns or session.remaining_s() > 0.0):
                query = self.queries[number % len(self.queries)]
                done = crew.run(query, length, f"{session.seed} {number}")
                self.tallies[query.name].take(done)
                self.whole.merge(done)
                number += 1
                session.progress(1.0 - session.remaining_s() / max(session.duration_s, 1e-9))

    def _plan(self, query: NamedQuery) -> str | None:
        """How the database goes about it.  One that does not write is run once, so that what is wrong with it is known
        before anything is measured; one that does is not."""
        import sqlalchemy as sa

        from perfsuite.database.plans import explain
        from perfsuite.database.trouble import DatabaseError

        values = query.draw(random.Random(self.session.seed))
        try:
            with self.database.connected(autocommit=True) as connection:
                for statement in CANNOT_WRITE[self.database.dialect][1:] if not query.writes else ():
                    connection.exec_driver_sql(statement)
                found = explain(connection, query.sql, values, runs=not query.writes)
                if not query.writes:
                    connection.execute(sa.text(query.sql), values).close()
        except DatabaseError as error:
            where = f"{self.session.database.queries}: {query.name!r}"
            if error.trouble.kind == "read_only" and not query.writes:
                raise UsageError(f"{where} writes and does not say so: write writes = true where it may") from error
            if error.trouble.kind in ("statement", "older_schema", "denied"):
                raise UsageError(f"{where}: {error.trouble.words}") from error
            raise
        return None if found is None else str(found)

    def evidence(self) -> Mapping[str, Evidence]:
        """What is known by now."""
        if self.lost is not None and not self.whole.tried:
            return {"named_query_time": NotMeasured(str(self.lost))}
        table = [self._row(query) for query in self.queries]
        return {
            "named_query_time": self.whole.evidence({**self.details, "queries": table}),
            "query_rate": rate(self.whole),
            "database_errors": errors([self.whole]),
        }

    def _row(self, query: NamedQuery) -> dict[str, object]:
        tally = self.tallies[query.name]
        known = tally.times.count > 0
        quantiles = {f"p{round(q * 100)}_ms": tally.times.quantile(q) if known else None for q in (0.5, 0.95, 0.99)}
        return {
            "query": query.name,
            "times": tally.times.count,
            "failed": tally.failed,
            **quantiles,
            "rows_each": tally.rows / tally.times.count if known else None,
            "plan": self.plans.get(query.name),
        }
