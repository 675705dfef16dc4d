"""Who drives a load, and what is recorded of it, as a suite sees them, which knows nothing of further processes.

``Here`` drives in this process; ``perfsuite.cluster`` has one that spreads a load over others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from perfsuite._core import Events
from perfsuite.loadgen.driving import drive
from perfsuite.loadgen.spec import Delivered, LoadSpec
from perfsuite.loadgen.tally import OnReply

if TYPE_CHECKING:
    from perfsuite._core import Histogram
    from perfsuite.loadgen.raw import RawWriter
    from perfsuite.targets.base import Request, Target


class Recording(Protocol):
    """What is read of a load's records; ``_core.Events`` says what each is."""

    start_ns: int
    warmup_ns: int

    def histogram(self, name: str, /) -> Histogram: ...

    def blocks(self, name: str, /) -> list[Histogram]: ...

    def block_times(self, name: str, /) -> list[float]: ...

    def windows(self, last: int | None = None) -> dict[str, list[float]]: ...

    def forget_blocks(self) -> None: ...

    @property
    def block_s(self) -> float: ...

    @property
    def window_s(self) -> float: ...

    @property
    def errors(self) -> dict[str, int]: ...

    @property
    def longest_wait_ms(self) -> float: ...

    @property
    def tokens_per_chunk(self) -> float | None: ...

    @property
    def started(self) -> int: ...

    @property
    def completed(self) -> int: ...

    @property
    def failed(self) -> int: ...

    @property
    def good(self) -> int: ...

    @property
    def warmup(self) -> int: ...

    @property
    def warmup_failed(self) -> int: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def max_in_flight(self) -> int: ...

    @property
    def waiting(self) -> int: ...

    @property
    def chunks(self) -> int: ...


class Loads(Protocol):
    """Drives the loads of a run."""

    def recording(
        self,
        target: Target,
        requests: Iterable[Request],
        spec: LoadSpec,
        *,
        limit_ms: float,
        objectives: Mapping[str, float],
        raw: bool,
    ) -> Recording:
        """Where such a load is going to be recorded: what ``drive`` is then given."""

    async def drive(
        self,
        target: Target,
        requests: Iterable[Request],
        spec: LoadSpec,
        recording: Recording,
        *,
        on_reply: OnReply | None = None,
        stop: asyncio.Event | None = None,
        progress: Callable[[float], None] | None = None,
        raw: RawWriter | None = None,
        answers: bool = False,
    ) -> Delivered:
        """What ``loadgen.drive`` promises.  Where requests are made elsewhere ``on_reply`` is told the times of all,
        and request and reply of those that a suite learns something from: that a fact was expected in, a new
        ``counted_by``, further times.
        """


class Here:
    """Loads that this process drives alone."""

    def recording(
        self,
        target: Target,
        requests: Iterable[Request],
        spec: LoadSpec,
        *,
        limit_ms: float,
        objectives: Mapping[str, float],
        raw: bool,
    ) -> Recording:
        """A recorder in C."""
        return Events(warmup_ns=int(spec.warmup_s * 1e9), limit_ms=limit_ms, objectives=objectives, raw=raw)

    async def drive(
        self,
        target: Target,
        requests: Iterable[Request],
        spec: LoadSpec,
        recording: Recording,
        *,
        on_reply: OnReply | None = None,
        stop: asyncio.Event | None = None,
        progress: Callable[[float], None] | None = None,
        raw: RawWriter | None = None,
        answers: bool = False,
    ) -> Delivered:
        """As ``loadgen.drive``."""
        assert isinstance(recording, Events)
        return await drive(target, requests, spec, recording, on_reply, stop, progress, raw, answers)
