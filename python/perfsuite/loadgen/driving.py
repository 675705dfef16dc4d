"""Which driver a load takes: engines in C where the target can be driven over the wire, else asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from perfsuite.loadgen import driver
from perfsuite.loadgen.spec import Delivered, LoadSpec
from perfsuite.loadgen.tally import OnReply
from perfsuite.loadgen.wire import drive_wire
from perfsuite.targets.http.wired import Wired

if TYPE_CHECKING:
    from perfsuite._core import Events
    from perfsuite.loadgen.raw import RawWriter
    from perfsuite.targets.base import Request, Target


async def drive(
    target: Target,
    requests: Iterable[Request],
    spec: LoadSpec,
    events: Events,
    on_reply: OnReply | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[float], None] | None = None,
    raw: RawWriter | None = None,
    answers: bool = False,
) -> Delivered:
    """Drives ``requests`` at ``target`` as ``spec`` says and records them in ``events``.

    The run starts now: ``events.start_ns`` is moved here unless rows have begun already, and its ``warmup_ns`` should
    be that of ``spec``.  A request is taken from ``requests`` when it is about to be sent, or, over the wire, a little
    ahead; its row's tag is its number, from 0.  When the time is over nothing new falls due, and what is due is sent
    and awaited, up to ``request_timeout_s``.  ``stop``: nothing new is sent, what is in flight is awaited likewise.
    ``progress`` is told the share of the time that is over.  ``answers``: replies have their text, also of requests
    that expect no fact.  Failed requests are rows with their kind; whatever ``requests``, ``on_reply``, ``progress`` or
    ``raw`` raise ends the run and is raised here, with everything measured so far still in ``events``.  No task and no
    thread outlives the call.
    """
    before = time.process_time()
    if isinstance(target, Wired) and target.endpoints():
        delivered = await drive_wire(target, requests, spec, events, on_reply, stop, progress, raw, answers)
    else:
        delivered = await driver.drive(target, requests, spec, events, on_reply, stop, progress, raw)
    return replace(delivered, cpu_s=time.process_time() - before)
