"""What is written ahead for engines: enough that no slot waits, and no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.loadgen import LoadSpec
from perfsuite.loadgen.feeding import FEWEST_AHEAD, SHARE_TOLD, Feeder, ahead
from perfsuite.loadgen.tally import Tally
from perfsuite.targets.base import Request

SLOTS = 512


@pytest.mark.parametrize(
    ("ended", "seconds", "ready"),
    [
        (0, 1.0, SLOTS),  # none has ended: they may all end together
        (SLOTS - 1, 1000.0, SLOTS),
        (SLOTS, 0.0, SLOTS),
        (10 * SLOTS, 10.0, SLOTS),  # answers of a second
        (10 * SLOTS, 20.0, SLOTS),  # of two
        (10 * SLOTS, 40.0, SLOTS // 2),  # of four
        (10 * SLOTS, 100.0, 102),
        (10 * SLOTS, 100_000.0, FEWEST_AHEAD),
    ],
)
def test_as_many_as_end_within_two_seconds_are_ready(ended: int, seconds: float, ready: int) -> None:
    assert ahead(SLOTS, ended, seconds) == ready
    assert ahead(8, ended, seconds) == 8  # few are no burden


class Engine:
    """Takes whatever it is given."""

    def __init__(self) -> None:
        self.taken = 0
        self.told = 1

    def tell_after(self, replies: int, /) -> None:
        self.told = replies

    def submit(self, *_: object) -> bool:
        self.taken += 1
        return True


class Target:
    wants_text = False

    def prepare(self, request: Request) -> None:
        return None

    def written(self, request: Request) -> tuple[int, bytes]:
        return 0, b"x"


def endless() -> Iterator[Request]:
    while True:
        yield Request(message="m", messages=[], user_id="u", conversation_id="c")


def fed(answer_s: float, **limits: int) -> tuple[Engine, Feeder]:
    """A closed loop, of whose slots each has had five answers of that length, and what it has done with its engine."""

    async def go() -> tuple[Engine, Feeder]:
        spec = LoadSpec(duration_s=10_000.0, concurrency=SLOTS, **limits)
        tally = Tally(spec, Events())
        engine: Any = Engine()
        target: Any = Target()
        feeder = Feeder(target, endless(), spec, tally, answers=False, fail=lambda *_: None, broken=lambda *_: None)

        def begin() -> None:
            tally.begin()
            tally.start_ns = time.monotonic_ns() - round(5 * answer_s * 1e9)
            feeder.pulled += 5 * SLOTS

        driving = asyncio.create_task(feeder.closed_loop([engine], begin))
        for _ in range(100):
            await asyncio.sleep(0)
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)
        return engine, feeder

    return asyncio.run(go())


def test_of_slow_answers_few_wait_in_the_queue() -> None:
    assert fed(1.0)[0].taken == 2 * SLOTS
    assert fed(100.0)[0].taken == SLOTS + FEWEST_AHEAD


def test_an_engine_tells_of_several_ends_while_the_next_requests_lie_ready() -> None:
    engine, feeder = fed(1.0)
    assert engine.told == SLOTS // SHARE_TOLD
    feeder.over = True
    feeder.settle()
    assert engine.told == 1, "the last ends are waited for"
    assert fed(100.0)[0].told == FEWEST_AHEAD // SHARE_TOLD


@pytest.mark.parametrize("limit", ["max_requests", "max_tokens"])
def test_where_ends_decide_what_is_sent_each_is_told(limit: str) -> None:
    assert fed(1.0, **{limit: 1_000_000})[0].told == 1
