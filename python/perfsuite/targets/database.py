"""A database as a target: what ``--url`` names.  It is looked up and written to; it does not chat."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.targets.base import Failure, Inspection, Reply, Request, Target

if TYPE_CHECKING:
    from perfsuite._core import Row
    from perfsuite.plan import Plan
    from perfsuite.values import Place

SCHEME = "database"


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The database of the plan's ``url``."""
    return DatabaseTarget(plan.database.url)


def named(url: Place | None) -> str:
    """What a plan and a result call it: without its password."""
    return f"{SCHEME}:{'sqlite' if url is None else url}"


class DatabaseTarget:
    """A database that is seen to be there before anything is measured; the probe connects by itself."""

    stamps = "monotonic clock of each worker's process, around each statement and its rows"
    inspection: Inspection | None = None
    process_ids: Sequence[int] = ()
    models: Sequence[str] = ()
    simulated: tuple[str, ...] = ()

    def __init__(self, url: Place | None) -> None:
        self.name = named(url)
        self._url = url

    async def open(self) -> None:
        """Raises UsageError for a URL that cannot be used or whose driver is missing, DatabaseError where nobody
        answers."""
        if self._url is None:
            return
        from perfsuite.database.opening import Opened

        database = Opened(self._url.reveal())
        try:
            if database.file is None or database.file.exists():
                await asyncio.to_thread(database.version)
        finally:
            database.close()

    async def send(self, request: Request, row: Row) -> Reply:
        """A database does not chat."""
        raise Failure("target", f"{self.name} is a database: run database")

    async def close(self) -> None:
        """Nothing stays open between two measurements."""
