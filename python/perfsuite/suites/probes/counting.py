"""How well prompts are counted before they are sent: by the model's tokenizer here, against the server's usage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from itertools import islice

from perfsuite._core import Events
from perfsuite.evidence import Evidence, NotMeasured, RatioOfSums
from perfsuite.suites.course import Course
from perfsuite.suites.session import Session
from perfsuite.targets.base import CountsTokens, Failure, Message, Reply, Request
from perfsuite.workloads.conversations import acknowledgement
from perfsuite.workloads.prose import sentences

PROMPTS = 24
TURNS = (1, 3, 5)
"""Messages of a prompt, the last the user's."""
TEXTS = (
    "def area(r):\n    return 3.14159 * r ** 2  # πr²\n",
    "Größe, naïve, façade, señor — „quoted“ … 3 °C",
    "東京は日本の首都です。",
    '{"id": 1234567890, "tags": ["a", null, true]}',
    "https://example.org/a/b?c=d&e=%20f#g   two  spaces\tand a tab",
    "👍🏽 ok! 1,234.56 + 7 = 1,241.56",
)
"""What counters differ on: code, accents, other scripts, JSON, addresses, white space, emoji."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Sends prompts one after another, for a token of answer each, and compares two counts of each."""
    target = session.target
    assert isinstance(target, CountsTokens), "the registry lets only targets with a counter come here"
    model = next(iter(target.models), None)
    counter = target.counter(model)
    assert counter is not None
    name, count = counter
    miscounted: list[float] = []
    true: list[float] = []
    course = Course()
    unusable: dict[str, int] = {}
    for number, request in enumerate(islice(prompts(session.seed, model), PROMPTS)):
        if session.budget.reached is not None or (number and session.remaining_s() == 0.0):
            break
        reply = await ask(session, request)
        if isinstance(reply, Failure):
            why = f"{reply.kind}: {reply}"
            unusable[why] = unusable.get(why, 0) + 1
        elif reply.counted_by != "usage" or not reply.prompt_tokens:
            unusable["the server tells no usage"] = unusable.get("the server tells no usage", 0) + 1
        else:
            true.append(float(reply.prompt_tokens))
            miscounted.append(float(abs(count(request.messages) - reply.prompt_tokens)))
            course.add(session.now_s, miscounted[-1], true[-1])
        session.progress((number + 1) / PROMPTS)
    if not true:
        reasons = [f"{reason} ({times} times)" for reason, times in unusable.items()]
        reason = "; ".join(reasons) or session.budget.reached or "the run ended before a prompt was sent"
        return {"token_counting_accuracy": NotMeasured(reason)}
    details: dict[str, object] = {"requests": len(true), "counted_by": name, "true_by": "the server's usage"}
    if unusable:
        details["not_compared"] = unusable
    series = course.series(complement=True)
    found = RatioOfSums(parts=miscounted, wholes=true, complement=True, series=series, details=details)
    return {"token_counting_accuracy": found}


def prompts(seed: int, model: str | None) -> Iterator[Request]:
    """Conversations of several lengths, of prose and of what is hard to count; no two alike."""
    prose = sentences(seed)
    number = 0
    while True:
        messages: list[Message] = []
        for turn in range(TURNS[number % len(TURNS)]):
            text = f"{next(prose)} {TEXTS[(number + turn) % len(TEXTS)]}"
            said = text if turn % 2 == 0 else acknowledgement(number + turn)
            messages.append({"role": ("user", "assistant")[turn % 2], "content": said})
        yield Request(
            message=str(messages[-1]["content"]),
            messages=messages,
            user_id="counting",
            conversation_id=f"counting-{seed}-{number}",
            model=model,
            max_tokens=1,
        )
        number += 1


async def ask(session: Session, request: Request) -> Reply | Failure:
    """The reply, or what went wrong."""
    row = Events().begin(time.monotonic_ns())
    tokens = 0
    try:
        async with asyncio.timeout(session.plan.request_timeout_s):
            reply = await session.target.send(request, row)
        tokens = (reply.prompt_tokens or 0) + (reply.completion_tokens or row.tokens)
        return reply
    except Failure as failure:
        return failure
    except TimeoutError:
        return Failure("timeout", f"no answer within {session.plan.request_timeout_s:g} s")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a system raises is its failure, as under load
        return Failure("target", f"{type(error).__name__}: {error}")
    finally:
        session.budget.spend(1, tokens)
