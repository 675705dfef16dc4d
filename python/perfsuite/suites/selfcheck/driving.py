"""The loads of a self check: driven at the server that knows the truth as ``run`` drives its targets."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from perfsuite._core import Events
from perfsuite.errors import UsageError
from perfsuite.loadgen import Delivered, LoadSpec, drive, driver
from perfsuite.suites.selfcheck.served import Served
from perfsuite.targets.base import Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget
from perfsuite.targets.http.wired import drivable

MESSAGE = ({"role": "user", "content": "how far off is this machine?"},)
ENGINES = ("wire", "asyncio")


@dataclass(frozen=True, slots=True)
class Driven:
    """What came of a load.  ``kernel``: the share of stamps that are the kernel's.  ``cpu_s``: of this whole process,
    meanwhile.  ``numbers``: of each answer, by the server's id of it, its request's number; None: the id is that."""

    delivered: Delivered
    kernel: float
    cpu_s: float
    numbers: Mapping[str, int] | None = None


def engine_for(scheme: str) -> str:
    """The engine that ``run`` drives a scheme with."""
    return "wire" if drivable([scheme]) else "asyncio"


def load(served: Served, engine: str, model: str, tokens: int, spec: LoadSpec, events: Events) -> Driven:
    """Drives a load of answers of so many tokens.  The id of a request is its number, from 0, which is its row's tag.

    Raises UsageError for an engine that does not speak the server's scheme."""
    if served.spoken:
        if engine == "wire":
            raise UsageError("the wire engine does not speak WebSockets: check them with --engine asyncio")
        with _trusting(served):
            return asyncio.run(_spoken(served, model, tokens, spec, events))
    address = parse_address(served.url, "the server of the self check")
    if engine == "wire" and not drivable([address.scheme]):
        raise UsageError(f"the wire engine does not speak {address.scheme} here: check it with --engine asyncio")

    async def run() -> Driven:
        target = ChatTarget("openai", address, None, {model: address})
        await target.open()
        try:
            before = time.process_time()
            driving = drive if engine == "wire" else driver.drive
            delivered = await driving(target, _requests(model, tokens), spec, events)
            cpu_s = time.process_time() - before
        finally:
            await target.close()
        return Driven(delivered, _kernel(delivered), cpu_s)

    with _trusting(served):
        return asyncio.run(run())


async def _spoken(served: Served, model: str, tokens: int, spec: LoadSpec, events: Events) -> Driven:
    from perfsuite.suites.selfcheck.spoken import Conversations, target

    conversations = Conversations(model, tokens)
    one = target(served.url, model)
    await one.open()
    try:
        before = time.process_time()
        delivered = await driver.drive(one, conversations.requests(), spec, events, on_reply=conversations.heard)
        cpu_s = time.process_time() - before
    finally:
        await one.close()
    return Driven(delivered, 0.0, cpu_s, conversations.numbers)


def _requests(model: str, tokens: int) -> Iterator[Request]:
    for number in itertools.count():
        yield Request(
            message="",
            messages=MESSAGE,
            user_id="",
            conversation_id="",
            model=model,
            max_tokens=tokens,
            headers=(("X-Request-Id", str(number)),),
        )


def _kernel(delivered: Delivered) -> float:
    counts = delivered.wire
    if not counts:
        return 0.0
    return min(counts["kernel_reads"] / max(1, counts["reads"]), counts["kernel_sends"] / max(1, counts["sent"]))


@contextmanager
def _trusting(served: Served) -> Iterator[None]:
    """The server's certificate is trusted by all that trusts what the system does: it was made for this check."""
    if served.certificate is None:
        yield
        return
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(served.certificate)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before
