"""The loads of a self check: each of the engines, driven at the server that knows the truth."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfsuite._core import Arrivals, Events, Wire
from perfsuite.errors import PerfsuiteError
from perfsuite.loadgen import LoadSpec, drive
from perfsuite.loadgen.engines import drivable
from perfsuite.suites.selfcheck.served import Served
from perfsuite.targets.base import Reply, Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.client import Call, DirectClient, rendered
from perfsuite.targets.http.hearing import converse
from perfsuite.targets.http.openai_chat import OpenAIChat

if TYPE_CHECKING:
    from perfsuite._core import Row, WireReply
    from perfsuite.loadgen.sealed import SealedWire
    from perfsuite.targets.http.address import Address

MESSAGE = ({"role": "user", "content": "how far off is this machine?"},)
POLL_S = 0.05
AHEAD = 2
"""A closed loop of the wire engine always finds so many requests for each connection."""
SPARE = 4
"""Connections of the wire engine's open loop, for each stream: none waits for one."""
RULES = (
    ("visible", "choices[].delta.content"),
    ("prompt", "usage.prompt_tokens"),
    ("completion", "usage.completion_tokens"),
    ("error", "error"),
)


@dataclass(frozen=True, slots=True)
class Driven:
    """What an engine did.  ``kernel``: the share of requests of which every stamp is the kernel's.  ``cpu_s``: of this
    whole process meanwhile."""

    kernel: float
    cpu_s: float


Engine = Callable[[Served, str, LoadSpec, int, Events], Driven]
"""(server, model, what is asked, streams, where it is recorded).  A request's id is its number, its row's tag."""


class _Numbered:
    """Requests without end, each with its number as its id."""

    def __init__(self, served: Served, model: str) -> None:
        self.address = parse_address(served.url, "the server of the self check")
        self.dialect = OpenAIChat(self.address.versioned().path)
        self._model = model

    def requests(self) -> Iterator[Request]:
        """In order; the id is in ``conversation_id``."""
        for number in itertools.count():
            yield Request(message="", messages=MESSAGE, user_id="", conversation_id=str(number), model=self._model)

    def call(self, request: Request) -> Call:
        """The dialect's, with the id."""
        call = self.dialect.call(request, self._model)
        return Call(
            call.method, call.path, (*call.headers, ("X-Request-Id", request.conversation_id)), call.body, call.stream
        )


class _Target:
    """The asyncio client, as the targets of ``run`` use it."""

    name = "selfcheck"
    simulated: tuple[str, ...] = ()
    stamps = DirectClient.transport
    inspection = None
    process_ids: Sequence[int] = ()
    models: Sequence[str] = ()

    def __init__(self, served: Served, numbered: _Numbered) -> None:
        self._numbered = numbered
        self._client = DirectClient(numbered.address, served.context())

    async def open(self) -> None:
        """Nothing is looked up."""

    async def send(self, request: Request, row: Row) -> Reply:
        """One answer, its tokens stamped by the client."""
        dialect = self._numbered.dialect
        heard = await converse(
            self._client,
            self._numbered.call(request),
            dialect.reader(request),
            row,
            marks_end=dialect.marks_end,
            on_sent=row.sent,
        )
        return Reply(text=heard.text, completion_tokens=heard.usage.completion_tokens)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


def by_asyncio(served: Served, model: str, spec: LoadSpec, streams: int, events: Events) -> Driven:
    """The asyncio client under the driver of ``run``."""
    import asyncio

    numbered = _Numbered(served, model)

    async def run() -> None:
        target = _Target(served, numbered)
        try:
            await drive(target, numbered.requests(), spec, events)
        finally:
            await target.close()

    before = time.process_time()
    asyncio.run(run())
    return Driven(kernel=0.0, cpu_s=time.process_time() - before)


def by_wire(served: Served, model: str, spec: LoadSpec, streams: int, events: Events) -> Driven:
    """The wire engine."""
    numbered = _Numbered(served, model)
    address = numbered.address
    calls = (rendered(numbered.call(request), address) for request in numbered.requests())
    before = time.process_time()
    wire = _wire(
        served,
        address,
        events,
        connections=spec.concurrency or SPARE * streams,
        rules=RULES,
        finish="[DONE]",
        marks_end=True,
        timeout_s=spec.request_timeout_s,
        queue=1 << 16,
    )
    replies: list[WireReply] = []
    start = time.monotonic_ns()
    events.start_ns = start
    end = start + round(spec.duration_s * 1e9)
    wire.start()
    try:
        submitted = 0
        if spec.rate is not None:
            for offset in Arrivals(spec.arrivals, spec.rate, duration_s=spec.duration_s, seed=spec.seed):
                if start + offset >= end:
                    break
                submitted += _submitted(wire, next(calls), start + offset, submitted)
        while time.monotonic_ns() < end:
            if spec.rate is None:
                for _ in range(max(0, AHEAD * (spec.concurrency or 1) - wire.stats()["queued"])):
                    submitted += _submitted(wire, next(calls), None, submitted)
            replies += wire.poll(POLL_S)
        if spec.rate is None:
            submitted -= wire.discard()
        give_up = time.monotonic() + spec.request_timeout_s
        while len(replies) < submitted and time.monotonic() < give_up:
            replies += wire.poll(POLL_S)
    finally:
        wire.stop()
        replies += wire.poll(0.0)
    good = [one for one in replies if one.status == 0]
    kernel = sum(one.kernel_sent and one.kernel_received for one in good) / len(good) if good else 0.0
    return Driven(kernel=kernel, cpu_s=time.process_time() - before)


def _wire(served: Served, address: Address, events: Events, **options: Any) -> Wire | SealedWire:
    if address.scheme == "http":
        return Wire(address.host, address.port, events, **options)
    from perfsuite.loadgen.sealed import SealedWire

    return SealedWire(address.host, address.port, events, context=served.context(), **options)


def _submitted(wire: Wire | SealedWire, request: bytes, due_ns: int | None, tag: int) -> int:
    if not wire.submit(request, due_ns, tag):
        raise PerfsuiteError("the wire engine's queue is full: ask for a lower rate or a shorter check")
    return 1


ENGINES: dict[str, Engine] = {"wire": by_wire, "asyncio": by_asyncio}


def engine_for(scheme: str) -> str:
    """The engine that drives a scheme."""
    return "wire" if drivable([scheme]) else "asyncio"
