"""The wire driver: a load sent by engines in C, each with a thread of its own.

What Python does here, writing requests (``feeding``) and looking at those that have ended, is on no measured path: an
engine stamps a request as it leaves and each piece of its answer as it arrives, in the kernel where that can be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite._core import ERROR_KINDS
from perfsuite.loadgen.engines import Engine, most_connections, open_engine
from perfsuite.loadgen.feeding import BACKLOG, Asked, Feeder
from perfsuite.loadgen.spec import Delivered, LoadSpec
from perfsuite.loadgen.tally import OnReply, Tally
from perfsuite.loadgen.ticking import Ticking
from perfsuite.loadgen.wire_counts import counted
from perfsuite.targets.base import Failure, Reply, Request

if TYPE_CHECKING:
    from perfsuite._core import Events, WireReply
    from perfsuite.loadgen.raw import RawWriter
    from perfsuite.targets.http.wired import Wired

UNCAPPED = 8192
"""Connections where nothing else bounds what may be in flight."""
SINCE_WARMUP = ("late_sends", "starved", "rests", "rest_ns")
"""What of the engines' counts is told of the measured time only."""
GRACE_S = 0.5
"""Beside the time-out of a request, which its engine sees to itself."""


async def drive_wire(
    target: Wired,
    requests: Iterable[Request],
    spec: LoadSpec,
    events: Events,
    on_reply: OnReply | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[float], None] | None = None,
    raw: RawWriter | None = None,
    answers: bool = False,
) -> Delivered:
    """What ``loadgen.drive`` promises, for a target that has endpoints.  Raises PerfsuiteError when one of them cannot
    be driven at all."""
    await target.ready()
    return await _Drive(target, requests, spec, events, on_reply, progress, raw, answers).run(stop)


@dataclass(frozen=True, slots=True)
class WireTimes:
    """When a request was due, and what of it came when: as of a Row."""

    due_ns: int
    first_ns: int | None
    end_ns: int
    tokens: int
    ended: bool = True

    @property
    def ttft_ms(self) -> float | None:
        """From due to the first chunk; None without one."""
        return None if self.first_ns is None else (self.first_ns - self.due_ns) / 1e6

    @property
    def response_time_ms(self) -> float:
        """From due to the end."""
        return (self.end_ns - self.due_ns) / 1e6


class _Drive:
    def __init__(
        self,
        target: Wired,
        requests: Iterable[Request],
        spec: LoadSpec,
        events: Events,
        on_reply: OnReply | None,
        progress: Callable[[float], None] | None,
        raw: RawWriter | None,
        answers: bool,
    ) -> None:
        self.target = target
        self.spec = spec
        self.events = events
        self.on_reply = on_reply
        self.tally = Tally(spec, events)
        self.ticking = Ticking(self.tally, events, progress, raw, self._break, self._poll_all)
        self.feeder = Feeder(target, requests, spec, self.tally, answers=answers, fail=self._fail, broken=self._break)
        self.engines: list[Engine] = []
        self.before = dict.fromkeys(SINCE_WARMUP, 0)
        """What the engines had counted when the warm-up was over."""
        self.warmed: asyncio.TimerHandle | None = None
        self.broken: BaseException | None = None
        self.counted: dict[int, Reply] = {}
        """By tag: answers whose tokens were counted here, until they are told of."""

    async def run(self, stop: asyncio.Event | None) -> Delivered:
        loop = asyncio.get_running_loop()
        helpers = [loop.create_task(self.ticking.run())]
        if stop is not None:
            helpers.append(loop.create_task(self._obey(stop)))
        try:
            room = await self._open()
            await self.tally.agreed()
            if self.spec.due_rate is None:
                await self.feeder.closed_loop(self.engines, self._begin)
            else:
                await self.feeder.open_loop(self.engines, room, self._begin)
            await self._drain()
        finally:
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self.feeder.end()
            self._shut()
        await self.ticking.last_rows()
        if self.broken is not None:
            raise self.broken
        self.ticking.over()
        return self._delivered()

    # ── the engines ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _open(self) -> int:
        """Makes an engine for each endpoint; how many requests they hold together."""
        endpoints = self.target.endpoints()
        most = self.spec.most_in_flight
        each = most if most is not None else max(1, most_connections(UNCAPPED) // len(endpoints))
        for endpoint in endpoints:
            engine = await asyncio.to_thread(
                open_engine,
                endpoint,
                self.events,
                connections=each,
                queue=2 * each * len(endpoints) + BACKLOG,
                timeout_s=self.spec.request_timeout_s,
            )
            self.engines.append(engine)
        return each * len(endpoints) + BACKLOG

    def _begin(self) -> None:
        """The clock starts, and the engines do."""
        loop = asyncio.get_running_loop()
        self.tally.begin()
        for engine in self.engines:
            engine.start()
            loop.add_reader(engine.fileno(), self._poll, engine)
        if self.spec.warmup_s > 0.0:
            left_ns = self.tally.measured_ns - time.monotonic_ns()  # the start may be agreed, and yet to come
            self.warmed = loop.call_later(left_ns / 1e9, self._warmed_up)

    def _warmed_up(self) -> None:
        if self.warmed is not None:
            self.warmed.cancel()
        counts = counted(self.engines)
        self.before = {name: counts[name] for name in SINCE_WARMUP}

    def _shut(self) -> None:
        """Ends the engines and records what they still had."""
        loop = asyncio.get_running_loop()
        if self.warmed is not None:
            self.warmed.cancel()
        for engine in self.engines:
            loop.remove_reader(engine.fileno())
            engine.stop()
            self._poll(engine)

    # ── what comes back ───────────────────────────────────────────────────────────────────────────────────────────────

    def _poll(self, engine: Engine) -> None:
        self.feeder.guarded(self._take, engine)

    def _poll_all(self) -> None:
        for engine in self.engines:
            self._poll(engine)  # tokens alone wake nobody

    def _take(self, engine: Engine) -> None:
        replies = engine.poll(count=self._count)
        for ended in replies:
            asked = self.feeder.asked.get(ended.tag)
            if asked is not None:
                self._ended(asked, ended)
        if replies:
            self.feeder.feed()

    def _count(self, ended: WireReply) -> tuple[int | None, int | None]:
        """The tokens of an answer whose server did not tell them: they are recorded with its end."""
        asked = self.feeder.asked.get(ended.tag)
        if asked is None:
            return None, None
        reply = self.target.reply(asked.request, ended)
        self.counted[ended.tag] = reply
        return reply.prompt_tokens, reply.completion_tokens

    def _ended(self, asked: Asked, ended: WireReply) -> None:
        reply = self.counted.pop(ended.tag, None)
        failure: Failure | None = None
        kind = ERROR_KINDS[ended.status]
        tokens = 0
        answered = ended.chunks
        if ended.status:
            failure = self.target.failure(asked.request, ended, self.spec.request_timeout_s)
        else:
            if reply is None and self.on_reply is not None:
                reply = self.target.reply(asked.request, ended)
            told = ended if reply is None else reply
            answered = answered if told.completion_tokens is None else told.completion_tokens
            tokens = (told.prompt_tokens or 0) + answered
        refused = kind == "connect" and ended.sent_ns is None  # it was sent, as far as this client could
        sent_ns = ended.end_ns if refused else ended.sent_ns
        measured_ns = self.tally.measured_ns
        if self.tally.ended(sent_ns=sent_ns, end_ns=ended.end_ns, failure=failure, tokens=tokens, answered=answered):
            self._close(self.tally.token_limit)
        if self.tally.measured_ns != measured_ns:
            self._warmed_up()
        self.feeder.gone(asked)
        if self.on_reply is not None and kind != "cancelled":
            times = WireTimes(ended.due_ns, ended.first_ns, ended.end_ns, ended.chunks)
            self.on_reply(asked.request, reply, failure, times)

    def _fail(self, asked: Asked, failure: Failure) -> None:
        """A request that came to no engine."""
        now = time.monotonic_ns()
        row = self.events.begin(now if asked.due_ns is None else asked.due_ns, asked.tag)
        row.sent(now)
        row.end(ERROR_KINDS.index(failure.kind), at_ns=now)
        self.tally.ended(sent_ns=now, end_ns=now, failure=failure, tokens=0)
        self.feeder.gone(asked)
        if self.on_reply is not None:
            self.on_reply(asked.request, None, failure, row)

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _close(self, reason: str) -> None:
        """Nothing more is sent."""
        if not self.feeder.closed:
            self.tally.ended_by = reason
            self.feeder.close()

    async def _obey(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._close("stopped")

    async def _drain(self) -> None:
        """Awaits what is due, up to the time-out of a request; the rest has timed out."""
        feeder = self.feeder
        feeder.over = True
        if not feeder.closed and self.spec.due_rate is None:
            feeder.discard()
        feeder.settle()
        if self.broken is not None:
            return
        if not await self._idle(self.spec.request_timeout_s + GRACE_S) and not feeder.closed:
            now = time.monotonic_ns()
            for due in feeder.drop_held():
                self.events.begin(due, feeder.pulled).end(ERROR_KINDS.index("timeout"), at_ns=now)
                self.tally.ended(sent_ns=None, end_ns=now, failure=self.tally.too_late(), tokens=0)
            for engine in self.engines:
                engine.give_up(late=True)
            await self._idle(GRACE_S)  # what is not at its end then is no engine's: run() cancels it

    async def _idle(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.feeder.idle.wait()
        except TimeoutError:
            return False
        return True

    def _break(self, error: Exception) -> None:
        """An error of the run itself: nothing more is sent, and what is in flight is given up."""
        if self.broken is None:
            self.broken = error
            self._close(f"{type(error).__name__}: {error}")
            self.feeder.idle.set()

    def _delivered(self) -> Delivered:
        counts = counted(self.engines)
        since = {name: max(0, counts[name] - before) for name, before in self.before.items()}
        self.tally.late = max(0, since.pop("late_sends") - self.feeder.held_late)
        counts |= since
        return self.tally.delivered(pauses=counts["rests"], paused_ns=counts["rest_ns"], wire=counts)
