"""What the driver asks of a shard, and what a shard tells it: forms that both ends know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from perfsuite.cluster.snapshots import Snapshot
from perfsuite.loadgen import Delivered, LoadSpec
from perfsuite.targets.base import Failure, Reply, Request

if TYPE_CHECKING:
    from perfsuite.loadgen import Times
    from perfsuite.workloads.requests import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One shard's part of one load.  ``load`` is its number in the run, ``topic`` where the shard tells how it goes;
    ``slots``: the conversations that it holds at once.  Times in ``spec`` are of the worker's clock."""

    run: str
    load: int
    shard: int
    attempt: int
    topic: str
    spec: LoadSpec
    recipe: Recipe
    slots: int
    limit_ms: float
    objectives: Mapping[str, float]
    raw: bool = False
    answers: bool = False

    @property
    def source(self) -> tuple[Recipe, tuple[int, int], int, int]:
        """What tells the conversations of one source from those of another; they go on from load to load."""
        return self.recipe, self.spec.part, self.slots, self.attempt


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that a suite learns something from: its request without the conversation before it, and its times.
    ``due_ns``: from the start of the load."""

    request: Request
    reply: Reply
    tokens: int
    due_ns: int
    ttft_ms: float | None
    response_time_ms: float | None


class End(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Any other request that has ended; ``failed`` is the kind of its failure, empty where it was answered."""

    tokens: int
    due_ns: int
    ttft_ms: float | None
    response_time_ms: float | None
    failed: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What a shard tells.  ``delivered``: it is over, and what came of it."""

    load: int
    shard: int
    attempt: int
    number: int
    records: Snapshot
    answers: list[Answer] = []
    ends: list[End] = []
    delivered: Delivered | None = None


class Telling:
    """What a shard's driver is told of each request that has ended: its times, and of some the reply."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._counted_by: set[str] = set()
        self._answers: list[Answer] = []
        self._ends: list[End] = []

    def heard(self, request: Request, reply: Reply | None, failure: Failure | None, times: Times) -> None:
        """A request has ended."""
        due_ns = times.due_ns - self._start_ns
        if reply is None or (request.expects is None and not reply.times and reply.counted_by in self._counted_by):
            self._ends.append(
                End(
                    tokens=times.tokens,
                    due_ns=due_ns,
                    ttft_ms=times.ttft_ms,
                    response_time_ms=times.response_time_ms,
                    failed="" if failure is None else failure.kind,
                )
            )
            return
        self._counted_by.add(reply.counted_by)
        text = reply.text if request.expects is not None else ""
        self._answers.append(
            Answer(
                request=replace(request, messages=(), headers=()),
                reply=replace(reply, text=text, extra={}),
                tokens=times.tokens,
                due_ns=due_ns,
                ttft_ms=times.ttft_ms,
                response_time_ms=times.response_time_ms,
            )
        )

    def taken(self) -> tuple[list[Answer], list[End]]:
        """Those that have not been told yet."""
        found = self._answers, self._ends
        self._answers, self._ends = [], []
        return found
