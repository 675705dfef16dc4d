"""The cost of recording a token and a request, beside a recorder in plain Python that keeps the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat

import pytest

from perfsuite._core import Arrivals, Events

CALLS = 1_000
missing: dict[str, str] = {}


@dataclass(slots=True)
class PlainRow:
    """What a client written in Python keeps of a request."""

    due: int
    sent: int = 0
    first: int | None = None
    last: int = 0
    end: int = 0
    status: int = 0
    gaps: list[int] = field(default_factory=list)

    def token(self) -> None:
        now = time.monotonic_ns()
        if self.first is None:
            self.first = now
        else:
            self.gaps.append(now - self.last)
        self.last = now


class PlainRecorder:
    """Keeps every request in a list; quantiles would still have to be computed."""

    def __init__(self) -> None:
        self.rows: list[PlainRow] = []

    def request(self) -> None:
        row = PlainRow(time.monotonic_ns())
        row.sent = time.monotonic_ns()
        row.token()
        row.end = time.monotonic_ns()
        self.rows.append(row)


def _tokens_ours() -> Callable[[], object]:
    events = Events()
    row = events.begin()

    def call(token: Callable[[], None] = row.token) -> None:
        for _ in repeat(None, CALLS):
            token()

    return call


def _tokens_plain() -> Callable[[], object]:
    row = PlainRow(0)

    def call(token: Callable[[], None] = row.token) -> None:
        row.gaps.clear()
        for _ in repeat(None, CALLS):
            token()

    return call


def _requests_ours() -> Callable[[], object]:
    events = Events()

    def call() -> None:
        begin = events.begin
        for _ in repeat(None, CALLS):
            row = begin()
            row.sent()
            row.token()
            row.end()

    return call


def _requests_plain() -> Callable[[], object]:
    recorder = PlainRecorder()

    def call() -> None:
        recorder.rows.clear()
        request = recorder.request
        for _ in repeat(None, CALLS):
            request()

    return call


def contenders() -> dict[str, tuple[Callable[[], object], int]]:
    """Recording a token event."""
    return {"perfsuite": (_tokens_ours(), CALLS), "plain Python": (_tokens_plain(), CALLS)}


def request_contenders() -> dict[str, tuple[Callable[[], object], int]]:
    """Recording a whole request of one token."""
    return {"perfsuite": (_requests_ours(), CALLS), "plain Python": (_requests_plain(), CALLS)}


PEERS = [("record a token of a request", contenders), ("record a whole request", request_contenders)]


@pytest.mark.parametrize("label", ["perfsuite", "plain Python"])
def test_token(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    benchmark.group = f"record a token, {CALLS} calls"
    benchmark(contenders()[label][0])


@pytest.mark.parametrize("label", ["perfsuite", "plain Python"])
def test_request(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    benchmark.group = f"record a request, {CALLS} calls"
    benchmark(request_contenders()[label][0])


def test_arrivals(benchmark) -> None:  # type: ignore[no-untyped-def]
    benchmark.group = f"draw Poisson arrivals, {CALLS}"
    benchmark(Arrivals("poisson", 100.0).take, CALLS)
