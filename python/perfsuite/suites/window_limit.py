"""The most prompt tokens that a model takes before it refuses or cuts."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING

from perfsuite._core import Events
from perfsuite.evidence import Evidence, Exact, NotMeasured
from perfsuite.targets.base import Failure, Request
from perfsuite.workloads.prose import sentences

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

FIRST_WORDS = 128
STEPS = 5
"""Bisections after the first size that was refused or cut."""
GREW = 0.9
"""A prompt whose token count grew by less than this share of what its words grew by was cut."""


async def window_limit(session: Session) -> Evidence:
    """Sends prompts of growing size to the default model: doubling, then bisecting.

    The target must tell how many prompt tokens it took.  Stops at ``--max-window-size`` unless refused earlier, and
    where the run's limit of requests or tokens is reached.
    """
    words = " ".join(islice(sentences(session.seed), 4000)).split()
    most = 0
    taken = FIRST_WORDS
    refused: int | None = None
    per_word: float | None = None
    series: list[tuple[float, float]] = []

    def found(limit: str) -> Exact:
        return Exact(value=float(most), series=series, details={"limit": limit})

    for _ in range(24):
        if session.stop.is_set() or session.budget.reached is not None:
            break
        tokens = await prompt_tokens(session, " ".join((words * (taken // len(words) + 1))[:taken]))
        if tokens is None and most == 0:
            return NotMeasured("the target does not tell how many prompt tokens it took")
        whole = tokens is not None and (per_word is None or tokens >= GREW * per_word * taken)
        if tokens is not None and whole:
            most = max(most, tokens)
            series.append((session.now_s, float(most)))
            per_word = tokens / taken
        else:
            refused = taken
        if refused is None and most >= session.tuning.max_window_size:
            return found("not reached: --max-window-size was")
        taken = taken * 2 if refused is None else round((refused + largest_taken(most, per_word)) / 2)
        if refused is not None and refused - taken <= max(4, refused >> STEPS):
            break
    if most == 0:
        return NotMeasured(session.budget.reached or "the run ended before a prompt was taken")
    if session.budget.reached is not None and refused is None:
        return found(f"not reached: {session.budget.reached}")
    return found("refused or cut beyond" if refused else "not reached")


def largest_taken(most: int, per_word: float | None) -> int:
    """Words of the largest prompt that was taken whole."""
    return round(most / per_word) if per_word else 0


async def prompt_tokens(session: Session, text: str) -> int | None:
    """Prompt tokens of one message as the target counts them; None when it refused or does not tell."""
    request = Request(
        message=text,
        messages=[{"role": "user", "content": text}],
        user_id="window-limit",
        conversation_id=f"window-limit-{len(text)}",
        model=session.target.models[0] if session.target.models else None,
        max_tokens=1,
    )
    row = Events().begin(time.monotonic_ns())
    tokens: int | None = None
    answered = 0
    try:
        async with asyncio.timeout(session.plan.request_timeout_s):
            reply = await session.target.send(request, row)
        answered = reply.completion_tokens or row.tokens
        tokens = reply.prompt_tokens
    except (Failure, TimeoutError):
        return None
    finally:
        session.budget.spend(1, (tokens or 0) + answered)
    told = session.target.inspection is not None or reply.counted_by == "usage"
    return tokens if told else None  # what was counted here does not show what was cut there
