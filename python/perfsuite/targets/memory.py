"""A memory system as a target: ``memory:NAME``.  It stores and recalls; it does not chat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.errors import UsageError
from perfsuite.memory import registry
from perfsuite.targets.base import Failure, Inspection, Reply, Request, Target

if TYPE_CHECKING:
    from perfsuite._core import Row
    from perfsuite.memory.host import Hosted
    from perfsuite.plan import Plan


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target ``memory:NAME``; ``memory:module:Class`` is a class that nobody has registered."""
    return MemoryTarget(rest)


def check(rest: str) -> None:
    """Raises UsageError where no system has that name."""
    if not rest:
        raise UsageError(f"memory: needs the name of a system after it: memory:{' or memory:'.join(registry.known())}")
    registry.find(rest)


class MemoryTarget:
    """One memory system, started afresh for each measurement."""

    stamps = "monotonic clock of the system's own process, around each call"
    inspection: Inspection | None = None
    process_ids: Sequence[int] = ()
    models: Sequence[str] = ()
    simulated: tuple[str, ...] = ()
    chats = False

    def __init__(self, name: str) -> None:
        self.name = f"memory:{name}"
        self.system = registry.find(name)
        self._asked = name

    async def open(self) -> None:
        """Raises UsageError where it is not installed."""
        lacking = registry.missing(self._asked)
        if lacking is not None:
            raise UsageError(lacking)

    async def send(self, request: Request, row: Row) -> Reply:
        """A memory system does not chat."""
        raise Failure("target", f"{self.name} is a memory system: run latency, throughput or footprint")

    @asynccontextmanager
    async def started(
        self,
        *,
        workdir: Path,
        model_url: str | None,
        dim: int,
        timeout_s: float,
        options: Mapping[str, object],
        meter: Callable[[], Mapping[str, float]] | None,
    ) -> AsyncIterator[Hosted]:
        """The system in a process of its own, opened on ``workdir``."""
        from perfsuite.memory.host import Hosted

        async with Hosted.start(
            self._asked,
            workdir=workdir,
            model_url=model_url,
            dim=dim,
            timeout_s=timeout_s,
            options=options,
            model_meter=meter,
        ) as system:
            yield system

    def tier_options(self, count: int) -> Mapping[str, object]:
        """The options that let ``count`` memories reach all of the system's tiers, as far as it has such."""
        return {name: max(1, round(share * count)) for name, share in self.system.tier_shares.items()}

    async def close(self) -> None:
        """Nothing stays open between two measurements."""
