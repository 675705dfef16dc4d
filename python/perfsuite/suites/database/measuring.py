"""The probe ``chat-database``: a chat service's tables under concurrent workers, with and without each index.

First the tables are filled, then sessions and messages are made, then each look-up runs with all seven indexes there,
and then, for one index after the other, with it and without it in turns: what an index is worth is told by times that
were taken next to one another.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.database import INDEXES, create_indexes, drop_indexes
from perfsuite.database.trouble import DatabaseError
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured
from perfsuite.scratch import scratch_folder
from perfsuite.suites.database import ground
from perfsuite.suites.database.crew import LONGEST_SLICE_S, SHORTEST_SLICE_S, Crew
from perfsuite.suites.database.effect import Effect, effect_of
from perfsuite.suites.database.ground import PREFIX
from perfsuite.suites.database.named import measure_named
from perfsuite.suites.database.operations import SESSION_LOOKUPS, Lookup, creations, lookups
from perfsuite.suites.database.rows import Sizes
from perfsuite.suites.database.tally import Tallies, Tally

if TYPE_CHECKING:
    from perfsuite.database.opening import Opened
    from perfsuite.database.plans import QueryPlan
    from perfsuite.database.queries import NamedQuery
    from perfsuite.suites.session import Session

ROWS = {"quick": 10_000, "standard": 100_000, "full": 100_000}
"""Of each table, by profile."""
CREATING, LOOKING_UP = 0.2, 0.5
"""When the shares of the time for making sessions and messages, and for the look-ups with all indexes, are over."""
LEAST_SHARE = 0.3
"""Of the time, for all that; to fill the tables may have taken the rest."""
GONE = ("refused", "dropped")
"""What a server that has ended says to who connects."""
ROUNDS = 3
"""As often each comes in turn, where there is time for that; once at least."""
SIDES = 8
"""Slices with an index, and as many without it, where there is time for that."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for all that its row in ``suites/probes`` lists; of a user's own queries where the plan names some."""
    with scratch_folder("database") as folder:
        async with opened(session, folder) as database:
            found = await _measured(session, database)
            await asyncio.to_thread(_look_again, session, database)
            return found


async def _measured(session: Session, database: Opened) -> Mapping[str, Evidence]:
    if session.database.queries is not None:
        return await measure_named(session, database)
    study = Study(session, database)
    try:
        await study.make()
    except UsageError:
        raise
    except PerfsuiteError as error:
        study.tallies.lost(error)
        session.fail(str(error))
    return study.evidence()


@contextlib.asynccontextmanager
async def opened(session: Session, folder: Path) -> AsyncIterator[Opened]:
    """The plan's database; without one an SQLite file of this run's own."""
    from perfsuite.database.opening import Opened

    place = session.database.url
    url = str(folder / "chat.db") if place is None else place.reveal()
    database = await asyncio.to_thread(Opened, url, ours=place is None)
    try:
        yield database
    finally:
        database.close()
        if database.new and place is not None:
            await asyncio.to_thread(ground.take_away, database)


def _look_again(session: Session, database: Opened) -> None:
    """A server that is not there any more is no result of a measurement: the run ends with that."""
    if database.file is not None or session.stop.is_set():
        return
    try:
        database.version()
    except DatabaseError as error:
        if error.trouble.kind in GONE:
            session.gone(error)


class Study:
    """The measurement and what is known of it so far."""

    def __init__(self, session: Session, database: Opened) -> None:
        self.session = session
        self.database = database
        self.asked = session.database.rows or ROWS[session.plan.profile]
        self.tallies = Tallies(session)
        self.effects: list[Effect] = []
        self.plans: dict[str, QueryPlan | None] = {}
        self.details: dict[str, object] = {"workers": session.database.workers, "through": "SQLAlchemy Core"}
        self.began = 0.0
        self.whole_s = session.duration_s

    async def make(self) -> None:
        """Everything."""
        await asyncio.to_thread(self._make)

    def _make(self) -> None:
        """In a thread of its own: whatever waits for the database waits here."""
        session, database = self.session, self.database
        self.details["database"] = database.version()
        sizes = Sizes(self.asked)
        with ground.own_tables(database, session.note):
            session.note(f"filling four tables with {self.asked:,} rows each")
            if not ground.fill(database, sizes, session.seed, self._goes_on):
                return
            self.details["rows"] = self.asked
            ground.finish(database)
            with Crew(database, session.database.workers) as crew:
                session.own_processes.update(crew.up())
                found = lookups(PREFIX, sizes)
                self._warm_up(crew, [*creations(PREFIX, sizes).values(), *(lookup.query for lookup in found)])
                self.began = time.monotonic()
                self.whole_s = max(LEAST_SHARE * session.duration_s, session.remaining_s())
                self._create(crew, sizes)
                self._look_up(crew, found)
                for lookup in found:
                    self.plans[lookup.index.name] = self._plan(lookup)
                for number, lookup in enumerate(found):
                    self._compare(crew, lookup, number / len(found))

    def _goes_on(self) -> bool:
        return not self.session.stop.is_set()

    def _slices(self, begin: float, end: float, kinds: int, rounds: int = ROUNDS) -> Iterator[float]:
        """Lengths of slices, ``kinds`` in turn, from one share of the time to another; one of each kind at least.  A
        slice that lasts longer than it should, for its workers wait for one another, leaves the next ones less."""
        until = self.began + end * self.whole_s
        length = min(LONGEST_SLICE_S, max(SHORTEST_SLICE_S, (end - begin) * self.whole_s / (rounds * kinds)))
        number = 0
        while self._goes_on() and (number < kinds or number % kinds or time.monotonic() < until):
            yield length
            number += 1
            done = (time.monotonic() - self.began) / self.whole_s
            self.session.progress(max(begin, min(end, done)))

    def _warm_up(self, crew: Crew, queries: list[NamedQuery]) -> None:
        """Each query once by each worker: its first one opens the file, reads the schema and is put together in Python.
        What fails in it counts."""
        tally = Tally(self.session)
        for query in queries:
            tally.take(crew.run(query, 0.0, "warm-up"))
        self.tallies.count(tally)

    def _create(self, crew: Crew, sizes: Sizes) -> None:
        made = list(creations(PREFIX, sizes).items())
        for number, seconds in enumerate(self._slices(0.0, CREATING, len(made))):
            metric, query = made[number % len(made)]
            self.tallies.of(metric).take(crew.run(query, seconds, f"{self.session.seed} {metric} {number}"))

    def _look_up(self, crew: Crew, found: list[Lookup]) -> None:
        for number, seconds in enumerate(self._slices(CREATING, LOOKING_UP, len(found))):
            lookup = found[number % len(found)]
            done = crew.run(lookup.query, seconds, f"{self.session.seed} {lookup.query.name} {number}")
            self.tallies.of(lookup.metric).take(done)
            self.tallies.all_queries.merge(done)

    def _compare(self, crew: Crew, lookup: Lookup, share: float) -> None:
        """One look-up with its index and without it, the other six there; the sides change places (with, without,
        without, with, …), so that load that comes or goes falls on both alike."""
        sides = {True: Tally(self.session), False: Tally(self.session)}
        bare: QueryPlan | None = None
        there = True
        begin, end = (LOOKING_UP + (1.0 - LOOKING_UP) * part for part in (share, share + 1 / len(INDEXES)))
        try:
            for number, seconds in enumerate(self._slices(begin, end, 2, SIDES)):
                indexed = number % 4 in (0, 3)
                if indexed is not there:
                    self._set(lookup, there := indexed)
                if not indexed:
                    bare = bare or self._plan(lookup)
                seed = f"{self.session.seed} {lookup.query.name} {number}"
                sides[indexed].take(crew.run(lookup.query, seconds, seed))
        finally:
            if not there:
                self._set(lookup, True)
        self.tallies.count(*sides.values())
        self.effects.append(effect_of(lookup, sides[True], sides[False], self.plans[lookup.index.name], bare))

    def _set(self, lookup: Lookup, there: bool) -> None:
        """Makes the look-up's index, or takes it away."""
        with self.database.connected() as connection:
            (create_indexes if there else drop_indexes)(connection, prefix=PREFIX, only=[lookup.index])

    def _plan(self, lookup: Lookup) -> QueryPlan | None:
        from perfsuite.database.plans import explain

        values = lookup.query.draw(random.Random(self.session.seed))
        with self.database.connected() as connection:
            return explain(connection, lookup.query.sql, values)

    def evidence(self) -> dict[str, Evidence]:
        """What is known by now."""
        found = self.tallies.evidence(self.details)
        reason = "the run was stopped before" if self.session.stop.is_set() else "it did not come to this"
        table = [one.row() for one in self.effects]
        if not self.effects:
            return {**found, "indexes_used": NotMeasured(reason), "index_speedup": NotMeasured(reason)}
        return {**found, "indexes_used": self._used(table), "index_speedup": self._speedup()}

    def _used(self, table: list[dict[str, object]]) -> Evidence:
        planned = [one for one in self.effects if one.used is not None]
        if not planned:
            return NotMeasured(f"the query plans of {self.database.dialect} are not read here", {"indexes": table})
        used = sum(one.used is True for one in planned)
        unused = [one.index for one in planned if not one.used]
        details: dict[str, object] = {"indexes": table} | ({"not_used": unused} if unused else {})
        return Exact(value=used / len(planned), samples=len(planned), details=details)

    def _speedup(self) -> Evidence:
        """The least of those that a service needs at each message."""
        known = [one for one in self.effects if one.index in SESSION_LOOKUPS and one.times is not None]
        if len(known) < len(SESSION_LOOKUPS):
            return NotMeasured("not each of the look-ups by user and session was answered with its index and without")
        least = min(known, key=lambda one: one.times.estimate if one.times is not None else 0.0)
        assert least.times is not None
        return Estimate(
            value=least.times.estimate,
            low=least.times.low,
            high=least.times.high,
            samples=least.samples,
            details={"of": least.index, "by_medians": least.row()["times_quicker_by_medians"]},
        )
