"""One message before a run against a service: how long an answer takes and how many tokens it is, for what is said of
the run before it starts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from perfsuite._core import Events
from perfsuite.errors import UsageError
from perfsuite.targets.base import Failure, Reply
from perfsuite.targets.http.failures import UNAUTHORIZED, HttpFailure
from perfsuite.workloads.requests import requests

if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.targets.base import Request, Target

SAMPLED = 64
SLOTS = 4
ITSELF = "perfsuite-first"
"""The user and the conversation of the message: none of the run's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typical:
    """A message of about the mean length of those that a run sends first, and how many characters those have."""

    request: Request
    characters: float

    @property
    def share(self) -> float:
        """The mean length over this message's."""
        return self.characters / max(1, characters(self.request))


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What came of it.  Token counts are None where nobody told them; ``failure`` is why there was no answer."""

    seconds: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    failure: str | None = None


def typical(plan: Plan) -> Typical | None:
    """Of the first messages that this run will send; None where there are none."""
    found = list(islice(requests(plan.seed, slots=SLOTS, workload=plan.workload), SAMPLED))
    if not found:
        return None
    mean = sum(map(characters, found)) / len(found)
    nearest = min(found, key=lambda one: abs(characters(one) - mean))
    return Typical(request=replace(nearest, user_id=ITSELF, conversation_id=ITSELF, expects=None), characters=mean)


def characters(request: Request) -> int:
    """Of all that its prompt is made of."""
    return sum(len(str(message.get("content", ""))) for message in request.messages)


async def first_answer(target: Target, plan: Plan, stop: asyncio.Event) -> tuple[First, int] | None:
    """Sends a typical message; what came of it, and the tokens that were spent.  None when it was stopped meanwhile, or
    there is no message.  Raises UsageError where the service wants another key: all messages would be refused."""
    one = typical(plan)
    if one is None:
        return None
    row = Events().begin(time.monotonic_ns())
    start = time.monotonic()
    asking = asyncio.ensure_future(target.send(one.request, row))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({asking, stopping}, timeout=plan.request_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        seconds = time.monotonic() - start
        if not asking.done():
            if stop.is_set():
                return None
            return First(seconds=seconds, failure=f"no answer within {plan.request_timeout_s:g} s"), 0
        reply = asking.result()
    except Failure as failure:
        if isinstance(failure, HttpFailure) and failure.status in UNAUTHORIZED:
            raise UsageError(str(failure)) from failure
        return First(seconds=seconds, failure=str(failure)), 0
    finally:
        asking.cancel()
        stopping.cancel()
        await asyncio.gather(asking, stopping, return_exceptions=True)
        row.end()
    return _told(reply, one, seconds, row.tokens)


def _told(reply: Reply, one: Typical, seconds: float, chunks: int) -> tuple[First, int]:
    answer = chunks if reply.completion_tokens is None else reply.completion_tokens
    prompt = None if reply.prompt_tokens is None else max(1, round(reply.prompt_tokens * one.share))
    first = First(seconds=seconds, prompt_tokens=prompt, completion_tokens=answer or None)
    return first, (reply.prompt_tokens or 0) + answer
