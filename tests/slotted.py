"""Systems that take so many requests at a time: what they bear is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Answer = Callable[[list[dict[str, Any]]], Awaitable[str]]


def slots(number: int, seconds: float, fails_beyond: int | None = None, *, refuses_after_s: float = 0.0) -> Answer:
    """``number`` at a time, each for ``seconds``; with more than ``fails_beyond`` under way, a refusal."""
    made: list[asyncio.Semaphore] = []
    under_way = 0

    async def answer(messages: list[dict[str, Any]]) -> str:
        nonlocal under_way
        if not made:  # in the loop that it is used in
            made.append(asyncio.Semaphore(number))
        if fails_beyond is not None and under_way >= fails_beyond:
            if refuses_after_s:
                await asyncio.sleep(refuses_after_s)
            raise RuntimeError("too busy")
        under_way += 1
        try:
            async with made[0]:
                await asyncio.sleep(seconds)
        finally:
            under_way -= 1
        return "ok"

    return answer
