"""What engines are fed with: requests written ahead of their time, as many as there is room for.

Closed loop: an engine has as many connections as there are slots, and its queue is kept as full as that again, so that
a slot finds its next request there; where answers take longer than AHEAD_S, with what ends in that time, for as many
long conversations would lie there in vain.  A single slot, or slots of several engines, are given theirs as the last
one ends.
Nobody waits for what has ended then: Python is woken for several at once (a SHARE_TOLD-th of what lies ready), or by
its tick.
Open loop: a request is queued AHEAD_NS before it is due; its end, too, can wait for others.  What Python brings later
than it was due is counted, as late or as missed, and so is a slot that found nothing: none of it is the system's time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite.loadgen.alarm import Alarm
from perfsuite.loadgen.schedule import NOBODY, schedule
from perfsuite.loadgen.spec import MISSED_NS, ByUser, LoadSpec
from perfsuite.loadgen.tally import LATE_NS, Tally
from perfsuite.targets.base import Failure, Request

if TYPE_CHECKING:
    from perfsuite.loadgen.engines import Engine
    from perfsuite.targets.http.wired import Wired

AHEAD_NS = 250_000_000
"""How long before it is due a request of an open loop is queued, at most."""
BACKLOG = 8192
"""Requests, beside those on connections, that engines hold at most; more wait here, as stamps."""
AHEAD_S = 2.0
FEWEST_AHEAD = 32
SHARE_TOLD = 8
OPEN_TOLD = 32
"""Requests of an open loop that have ended, for which Python is woken."""
AT_ONCE = 128
"""Requests written before the event loop has its turn again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request on its way.  ``due_ns`` None: when a slot is free."""

    request: Request
    tag: int
    user: int
    due_ns: int | None


class Feeder:
    """Pulls requests and hands them to the engines.  ``fail`` is told of one that cannot be sent, ``broken`` of an
    error of the run itself, such as one of the requests' own code."""

    def __init__(
        self,
        target: Wired,
        requests: Iterable[Request],
        spec: LoadSpec,
        tally: Tally,
        *,
        answers: bool,
        fail: Callable[[Asked, Failure], object],
        broken: Callable[[Exception], object],
    ) -> None:
        self._target = target
        self._requests = iter(requests)
        self._by_user = requests if isinstance(requests, ByUser) else None
        self._spec = spec
        self._tally = tally
        self._answers = answers
        self._fail = fail
        self._broken = broken
        self._engines: list[Engine] = []
        self._room = 0
        self._slots = 0
        """Of a closed loop whose requests are written ahead."""
        self._each: int | None = None
        """How many of one user may be on their way; None: as many as there is room."""
        self._told = 1
        """Ended requests for which the engines wake us."""
        self._limited = answers or spec.max_requests is not None or spec.max_tokens is not None
        """What ends may decide what is sent next, or whether anything is."""
        self._taken: dict[int, int] = {}
        self._held: dict[int, deque[int]] = {}
        """What is due, or nearly, and finds no room: due stamps by user."""
        self._preparing: set[asyncio.Task[None]] = set()
        self._soon = False
        self.alarm: Alarm | None = None
        self.asked: dict[int, Asked] = {}
        """By tag: on the way to an engine, or there."""
        self.outstanding = 0
        """Of those, what has not ended and was not discarded."""
        self.pulled = 0
        self.held_late = 0
        """Sent late because of what was in flight: an engine that gets one late takes it for a late client's."""
        self.spent: str | None = None
        """Why there is nothing more to pull."""
        self.over = self.closed = False
        """Nothing new falls due; nothing more is sent, not even what is due."""
        self.idle = asyncio.Event()
        """Nothing is outstanding, and nothing will be."""

    # ── closed loop ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def closed_loop(self, engines: list[Engine], begin: Callable[[], object]) -> None:
        """Keeps the slots busy until the time is over.  ``begin`` starts the clock and the engines."""
        self._engines = engines
        self._room = slots = self._spec.concurrency or 1
        self._fill(slots)  # first: no slot waits until the others' requests are written
        begin()
        if slots > 1 and len(engines) == 1 and self._spec.think_s == 0.0:
            self._slots = slots
        with Alarm() as self.alarm:
            self.feed()
            await self._until(self._tally.end_ns)

    def feed(self) -> None:
        """Fills the room that there is in a closed loop, a part of it at a time."""
        if self._slots:
            ended = self.pulled - self.outstanding
            ready = ahead(self._slots, ended, (time.monotonic_ns() - self._tally.start_ns) / 1e9)
            self._room = self._slots + ready
            self._tell_after(ready // SHARE_TOLD)
        if self._spec.due_rate is None and not self._fill(AT_ONCE) and not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._feed_on)

    def _tell_after(self, ended: int) -> None:
        """How many requests may have ended before an engine wakes us."""
        told = 1 if self._limited or self.over or self.spent is not None else max(1, ended)
        if told != self._told:
            self._told = told
            for engine in self._engines:
                engine.tell_after(told)

    def _feed_on(self) -> None:
        self._soon = False
        self.guarded(self.feed)

    def _fill(self, most: int) -> bool:
        """Hands over as much as there is room for, or that many; whether there is no more room."""
        for _ in range(most):
            if self.outstanding >= self._room or self.over or self.spent is not None:
                return True
            request = self._pull()
            if request is not None:
                self._hand(request, None)
        return False

    def _thought(self) -> None:
        self._room += 1
        self.guarded(self.feed)

    # ── open loop, and paced users ────────────────────────────────────────────────────────────────────────────────────

    async def open_loop(self, engines: list[Engine], room: int, begin: Callable[[], object]) -> None:
        """Hands over what falls due until the time is over; ``room``: how much the engines can hold."""
        self._engines = engines
        self._room = room
        if self._spec.users is not None:
            self._each = 1
        elif len(engines) > 1:  # each of them would let as many be in flight
            self._each = self._spec.concurrency
        if self._each is None:
            self._tell_after(OPEN_TOLD)
        begin()
        with Alarm() as self.alarm:
            for number, (offset, user) in enumerate(schedule(self._spec)):
                due = self._tally.start_ns + offset
                if due >= self._tally.end_ns or self.spent is not None:
                    break
                if due - time.monotonic_ns() > AHEAD_NS:
                    await self._until(due - AHEAD_NS // 2)
                elif number % AT_ONCE == 0:
                    await asyncio.sleep(0)
                if self.closed:
                    return
                if self._held.get(user) or not self._has_room(user):
                    self._held.setdefault(user, deque()).append(due)
                else:
                    self._due(user, due)
            await self._until(self._tally.end_ns)

    def _has_room(self, user: int) -> bool:
        return self.outstanding < self._room and (self._each is None or self._taken.get(user, 0) < self._each)

    def _due(self, user: int, due: int, *, held: bool = False) -> None:
        late = time.monotonic_ns() - due
        if due >= self._tally.measured_ns:
            self.held_late += held and late > LATE_NS
            self._tally.missed += not held and late > MISSED_NS
        request = self._pull(user)
        if request is not None:
            self._hand(request, due, user)

    def _release(self, user: int) -> None:
        """What was held back for ``user`` and finds room now."""
        queue = self._held.get(user)
        while queue and not self.closed and self.spent is None and self._has_room(user):
            self._due(user, queue.popleft(), held=True)
        if queue is not None and not queue:
            del self._held[user]

    def drop_held(self) -> list[int]:
        """The due stamps of what was never handed over; forgets them."""
        dues = [due for queue in self._held.values() for due in queue]
        self._held.clear()
        return dues

    # ── one request ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _pull(self, user: int = NOBODY) -> Request | None:
        """The next request (of that user); None when there is to be no more."""
        limit = self._spec.max_requests
        if limit is not None and self.pulled >= limit:
            self._spend(f"the limit of {limit:,} requests was reached")
            return None
        own = self._by_user is not None and user != NOBODY
        request = self._by_user.of(user) if self._by_user is not None and own else next(self._requests, None)
        if request is None:
            self._spend(f"the requests ran out after {self.pulled:,}")
            return None
        self.pulled += 1
        return request

    def _spend(self, reason: str) -> None:
        self.spent = reason
        self.settle()

    def _hand(self, request: Request, due: int | None, user: int = NOBODY) -> None:
        """Gives a request to its engine, after what has to be done before it."""
        asked = Asked(request, self.pulled - 1, user, due)
        self.asked[asked.tag] = asked
        self.outstanding += 1
        self._taken[user] = self._taken.get(user, 0) + 1
        preparing = self._target.prepare(request)
        if preparing is None:
            self._submit(asked)
            return
        task = asyncio.get_running_loop().create_task(self._prepared(preparing, asked))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def _prepared(self, preparing: Awaitable[object], asked: Asked) -> None:
        try:
            async with asyncio.timeout(self._spec.request_timeout_s):
                await preparing
        except Failure as failure:
            self.guarded(self._unprepared, asked, failure)
        except TimeoutError:
            self.guarded(self._unprepared, asked, self._tally.too_late())
        except asyncio.CancelledError:
            self.gone(asked)
            raise
        except Exception as error:  # noqa: BLE001  the run ends with it
            self._broken(error)
        else:
            self.guarded(self._submit, asked)

    def _unprepared(self, asked: Asked, failure: Failure) -> None:
        self._fail(asked, failure)
        self.feed()

    def _submit(self, asked: Asked) -> None:
        try:
            index, data = self._target.written(asked.request)
        except Failure as failure:
            self._fail(asked, failure)
            return
        keep = self._answers or asked.request.expects is not None or self._target.wants_text
        said = asked.request.message.encode("utf-8", "replace")
        if not self._engines[index].submit(data, asked.due_ns, asked.tag, keep, said):
            self.gone(asked)  # given up meanwhile

    def gone(self, asked: Asked) -> None:
        """It has ended, or will not be sent: there is room for another, after the think time if there is one."""
        del self.asked[asked.tag]
        self.outstanding -= 1
        left = self._taken[asked.user] - 1
        self._taken[asked.user] = left
        if not left:
            del self._taken[asked.user]
        if self._held:
            self._release(asked.user)
        self.settle()
        if self._spec.think_s > 0.0 and self._spec.due_rate is None and not self.over:
            self._room -= 1
            asyncio.get_running_loop().call_later(self._spec.think_s, self._thought)

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Notices when there is nothing more to wait for."""
        if not self.over and self.spent is None:
            return
        self._tell_after(1)
        if self.outstanding == 0:
            if self.spent is not None and self._tally.ended_by is None:
                self._tally.ended_by = self.spent
            self.idle.set()
            self._ring()

    def discard(self) -> None:
        """The time of a closed loop is over: what no slot has taken is not sent."""
        unsent = sum(engine.discard() for engine in self._engines)
        self.outstanding -= unsent
        if unsent == 0 and self.spent is not None:
            self._tally.ended_by = self.spent

    def close(self) -> None:
        """Nothing more is sent."""
        self.closed = self.over = True
        self._held.clear()
        for engine in self._engines:
            before = engine.stats()["unsent"]
            engine.give_up()
            self.outstanding -= engine.stats()["unsent"] - before
        for task in self._preparing:
            task.cancel()
        self._ring()
        self.settle()

    async def end(self) -> None:
        """Leaves no task behind."""
        tasks = list(self._preparing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until(self, at_ns: int) -> None:
        """Sleeps until then, or until there is nothing more to wait for."""
        assert self.alarm is not None
        while time.monotonic_ns() < at_ns and not self.closed and not self.idle.is_set():
            await self.alarm.until(at_ns)

    def _ring(self) -> None:
        if self.alarm is not None:
            self.alarm.ring()

    def guarded(self, call: Callable[..., object], *arguments: object) -> None:
        """Calls what may fail by a probe's code or a source of requests: the run ends with it."""
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001  raised by whoever runs the load
            self._broken(error)


def ahead(slots: int, ended: int, seconds: float) -> int:
    """How many requests a closed loop has ready for its slots, when so many have ended in its time so far."""
    if ended < slots or seconds <= 0.0:
        return slots  # they began together, and may end together
    return min(slots, max(FEWEST_AHEAD, round(ended / seconds * AHEAD_S)))
