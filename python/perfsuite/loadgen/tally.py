"""What came of a load, added up as its requests end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from perfsuite.loadgen.alarm import SECOND, Alarm
from perfsuite.loadgen.backoff import pauses_said
from perfsuite.loadgen.spec import Delivered, LoadSpec, shortfall
from perfsuite.loadgen.wire_counts import idleness, warnings
from perfsuite.targets.base import Failure, Reply, Request

if TYPE_CHECKING:
    from perfsuite._core import Events

LATE_NS = 1_000_000
"""A send this long after it was due, though a slot was free, is a late client's."""
WARMUP_SHARE = 0.1
"""Of the requests or tokens that a load may send, those that may go to its warm-up."""
EXAMPLES = 3
EXAMPLE_LENGTH = 300


class Times(Protocol):
    """When a request that has ended was answered: a Row, or what an engine stamped."""

    @property
    def tokens(self) -> int: ...

    @property
    def due_ns(self) -> int: ...

    @property
    def ttft_ms(self) -> float | None: ...

    @property
    def response_time_ms(self) -> float | None: ...


OnReply = Callable[[Request, "Reply | None", "Failure | None", Times], object]
"""Called when a request has ended, with its reply or its failure, outside of its measured time.  Over the wire the
reply has its text only where the request ``expects`` a fact, or ``answers`` were asked for."""


class Tally:
    """The figures of one load that are not in its Events."""

    def __init__(self, spec: LoadSpec, events: Events) -> None:
        self.spec = spec
        self.events = events
        self.before = (events.started, events.completed, events.failed, events.warmup)
        self.start_ns = self.measured_ns = self.end_ns = 0
        self.sent = self.in_time = self.late = self.missed = self.tokens = self.answered = 0
        self.last_end_ns = 0
        self.busy_ns = 0
        """Of all slots together, in the measured time."""
        self.ended_by: str | None = None
        self.examples: dict[str, list[str]] = {}

    def begin(self) -> None:
        """The load starts now, or when its spec says; ``events`` too, unless rows have begun already."""
        self.start_ns = time.monotonic_ns() if self.spec.start_ns is None else self.spec.start_ns
        if self.events.started == 0 and self.events.warmup == 0:
            self.events.start_ns = self.start_ns
        self.measured_ns = self.start_ns + round(self.spec.warmup_s * SECOND)
        self.end_ns = self.start_ns + round(self.spec.duration_s * SECOND)

    async def agreed(self) -> None:
        """Waits for the agreed start of a closed loop, whose requests know no other; a schedule's know when they are
        due."""
        if self.spec.start_ns is not None and self.spec.due_rate is None:
            with Alarm() as alarm:
                await alarm.until(self.spec.start_ns)

    def share(self) -> float:
        """Of the time, that is over."""
        return min(1.0, max(0.0, (time.monotonic_ns() - self.start_ns) / (self.end_ns - self.start_ns)))

    @property
    def token_limit(self) -> str:
        """Why a load ended that had its tokens."""
        return f"the limit of {self.spec.max_tokens:,} tokens was reached"

    def too_late(self) -> Failure:
        """The failure of a request that had no end in its time."""
        return Failure("timeout", f"no end within {self.spec.request_timeout_s:g} s")

    def ended(
        self, *, sent_ns: int | None, end_ns: int, failure: Failure | None, tokens: int, answered: int = 0
    ) -> bool:
        """One request, its tokens, and those of them that are its answer's; whether the load has had all the tokens
        that it may."""
        spec = self.spec
        self.last_end_ns = max(self.last_end_ns, end_ns)
        if sent_ns is not None:
            self.sent += 1
            self.busy_ns += max(0, min(end_ns, self.end_ns) - max(sent_ns, self.measured_ns))
            self.in_time += self.measured_ns <= sent_ns < self.end_ns
        self.tokens += tokens
        self.answered += answered
        if time.monotonic_ns() < self.measured_ns and warmed_up(spec, self.events, self.sent, self.tokens):
            self.measured_ns = self.events.start_ns + self.events.warmup_ns
        if failure is not None and failure.kind != "cancelled":
            examples = self.examples.setdefault(failure.kind, [])
            if len(examples) < EXAMPLES and (text := shortened(str(failure))) not in examples:
                examples.append(text)
        return spec.max_tokens is not None and self.tokens >= spec.max_tokens

    def delivered(self, *, pauses: int, paused_ns: int, wire: Mapping[str, int] | None = None) -> Delivered:
        """What came of it.  ``pauses``: of slots that came to no connection (``backoff``), all together ``paused_ns``
        long; ``wire``: what engines counted, if engines drove."""
        events, spec = self.events, self.spec
        now = (events.started, events.completed, events.failed, events.warmup)
        started, completed, failed, warmup = (count - then for count, then in zip(now, self.before, strict=True))
        until = min(self.last_end_ns, self.end_ns) if self.ended_by is not None else self.end_ns
        measured_s = max(0, until - self.measured_ns) / SECOND
        rate = self.in_time / measured_s if measured_s > 0.0 else 0.0
        due_rate = started / measured_s if spec.due_rate is not None and measured_s > 0.0 else None
        held = self.busy_ns / SECOND / measured_s if measured_s > 0.0 else 0.0
        slots = spec.concurrency or 1
        paused_s = min(paused_ns / SECOND, slots * measured_s)  # a pause may have begun in the warm-up
        said = (warnings(wire) if wire else []) + pauses_said(pauses, paused_s)
        if spec.due_rate is None and not spec.think_s and self.ended_by is None and measured_s > 0.0:
            said += idleness(held, slots, wire["starved"] if wire else None, paused_s / measured_s)
        short = shortfall(
            spec,
            due=started,
            in_time=self.in_time,
            missed=self.missed,
            begun=self.sent,
            ended=self.ended_by is not None,
        )
        return Delivered(
            max_in_flight=events.max_in_flight,
            rate=rate,
            requests=started,
            completed=completed,
            failed=failed,
            duration_s=measured_s,
            late_sends=self.late,
            coalesced_reads=wire["coalesced_reads"] if wire else 0,
            sent=self.sent,
            tokens=self.tokens,
            warmup=warmup,
            due_rate=due_rate,
            ended=self.ended_by,
            short=short,
            examples=self.examples,
            wire=dict(wire or {}),
            mean_in_flight=held,
            answered=self.answered,
            pauses=pauses,
            paused_s=paused_s,
            warnings=said,
        )


def warmed_up(spec: LoadSpec, events: Events, sent: int, tokens: int) -> bool:
    """Ends the warm-up of a load that may send only so much and has sent its WARMUP_SHARE of that: the time that a
    warm-up takes may be all of it.  Whether it did, which is now."""
    if spec.max_requests is not None and sent >= WARMUP_SHARE * spec.max_requests:
        enough = True
    else:
        enough = spec.max_tokens is not None and tokens >= WARMUP_SHARE * spec.max_tokens
    if enough:
        events.warmup_ns = min(events.warmup_ns, max(0, time.monotonic_ns() - events.start_ns))
    return enough


def shortened(text: str) -> str:
    """A failure's words on one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= EXAMPLE_LENGTH else line[: EXAMPLE_LENGTH - 1] + "…"
