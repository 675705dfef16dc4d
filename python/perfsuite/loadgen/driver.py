"""The asyncio load driver.

Closed loop: N workers, each with one request in flight at any time until the time is over.  Open loop: requests fall
due on a schedule that knows nothing of the answers, so a system that slows down is not spared, and what waits for a
free slot (of a paced user: for the last answer) waits on the clock of the user who asked (no coordinated omission).
The driver stamps due, sent and end; the target stamps its tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING

from perfsuite._core import ERROR_KINDS
from perfsuite.loadgen.alarm import Alarm
from perfsuite.loadgen.backoff import UNREACHED, pause_s
from perfsuite.loadgen.schedule import NOBODY, schedule
from perfsuite.loadgen.spec import MISSED_NS, ByUser, Delivered, LoadSpec
from perfsuite.loadgen.tally import LATE_NS, OnReply, Tally
from perfsuite.loadgen.ticking import Ticking
from perfsuite.targets.base import Failure, Reply, Request

if TYPE_CHECKING:
    from perfsuite._core import Events, Row
    from perfsuite.loadgen.raw import RawWriter
    from perfsuite.targets.base import Target

PATIENCE_S = 1.0
"""For a cancelled request to end."""
MOST_TOKENS = 10**9

_STATUS = {kind: status for status, kind in enumerate(ERROR_KINDS) if kind != "ok"}


async def drive(
    target: Target,
    requests: Iterable[Request],
    spec: LoadSpec,
    events: Events,
    on_reply: OnReply | None = None,
    stop: asyncio.Event | None = None,
    progress: Callable[[float], None] | None = None,
    raw: RawWriter | None = None,
) -> Delivered:
    """Drives ``requests`` at ``target`` as ``spec`` says and records them in ``events``.

    The run starts now: ``events.start_ns`` is moved here unless rows have begun already, and its ``warmup_ns`` should
    be that of ``spec``.  A request is taken from ``requests`` when it is about to be sent.  When the time is over
    nothing new falls due, and what is due is sent and awaited, up to ``request_timeout_s``.  ``stop``: nothing new is
    sent, what is in flight is awaited likewise.  ``progress`` is told the share of the time that is over.  Failed
    requests are rows with their kind; whatever ``requests``, ``on_reply``, ``progress`` or ``raw`` raise ends the run
    and is raised here, with everything measured so far still in ``events``.  No task outlives the call.
    """
    return await _Drive(target, requests, spec, events, on_reply, progress, raw).run(stop)


class _Drive:
    def __init__(
        self,
        target: Target,
        requests: Iterable[Request],
        spec: LoadSpec,
        events: Events,
        on_reply: OnReply | None,
        progress: Callable[[float], None] | None,
        raw: RawWriter | None,
    ) -> None:
        self.target = target
        self.requests = iter(requests)
        self.by_user = requests if isinstance(requests, ByUser) else None
        self.spec = spec
        self.events = events
        self.on_reply = on_reply
        self.tally = Tally(spec, events)
        self.ticking = Ticking(self.tally, events, progress, raw, self._break)
        self.begun = 0
        self.pauses = 0
        self.paused_ns = 0
        self.over = asyncio.Event()
        """Nothing new falls due."""
        self.closed = False
        """Nothing more is sent, not even what is due."""
        self.expired = False
        """What is still in flight is cancelled because its time is over, not because the run is abandoned."""
        self.broken: BaseException | None = None
        self.alarm: Alarm | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.stubborn: set[asyncio.Task[None]] = set()
        self.waiting: dict[int, deque[Row]] = {}
        """What is due and waits: by user, or all of it under NOBODY."""
        self.taken: dict[int, int] = {}
        """Slots in use, likewise."""

    async def run(self, stop: asyncio.Event | None) -> Delivered:
        await self.tally.agreed()
        self.tally.begin()
        loop = asyncio.get_running_loop()
        helpers = [loop.create_task(self.ticking.run())]
        if stop is not None:
            helpers.append(loop.create_task(self._obey(stop)))
        try:
            await (self._closed_loop() if self.spec.due_rate is None else self._open_loop())
            await self._drain()
        finally:
            await self._cancel([*self.tasks, *helpers])
            self.waiting.clear()
        await self.ticking.last_rows()
        if self.broken is not None:
            raise self.broken
        self.ticking.over()
        return self.tally.delivered(pauses=self.pauses, paused_ns=self.paused_ns)

    # ── what goes out ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _closed_loop(self) -> None:
        deadline = asyncio.get_running_loop().call_later(self.spec.duration_s, self._no_more)
        for _ in range(self.spec.concurrency or 1):
            self._spawn(self._worker())
        try:
            await self.over.wait()
        finally:
            deadline.cancel()

    async def _worker(self) -> None:
        unreached = 0
        while not self.over.is_set():
            request = self._pull()
            if request is None:
                return
            failure = await self._send(request, None)
            unreached = unreached + 1 if failure is not None and failure.kind in UNREACHED else 0
            if unreached:
                await self._back_off(unreached)
            if self.spec.think_s > 0.0:
                await self._pause(self.spec.think_s)
            else:
                await asyncio.sleep(0)  # a target that never waits must not keep the others from running

    async def _open_loop(self) -> None:
        most = 1 if self.spec.users is not None else self.spec.concurrency
        with Alarm() as self.alarm:
            for offset, user in schedule(self.spec):
                due = self.tally.start_ns + offset
                if due >= self.tally.end_ns:
                    break
                await self.alarm.until(due)
                if self.closed:  # not when the time is over: a late client owes what fell due before
                    return
                if most is not None and self.taken.get(user, 0) >= most:
                    queue = self.waiting.setdefault(user, deque())
                    queue.append(self.events.begin(due, self.begun + len(queue)))
                    continue
                request = self._pull(user)
                if request is None:
                    return
                self.taken[user] = self.taken.get(user, 0) + 1
                self._spawn(self._slot(request, self.events.begin(due, self.begun - 1), due, user))
            if not self.closed:
                await self.alarm.until(self.tally.end_ns)

    async def _slot(self, request: Request, row: Row, due: int, user: int) -> None:
        """Sends one request, and then what waits for a slot."""
        try:
            await self._send(request, row, due)
            while self.waiting.get(user) and not self.closed:
                following = self._pull(user)
                if following is None:
                    return
                await self._send(following, self.waiting[user].popleft())
                await asyncio.sleep(0)
        finally:
            self.taken[user] -= 1

    def _pull(self, user: int = NOBODY) -> Request | None:
        """The next request (of that user), about to be sent; None when there is to be no more."""
        if self.closed or (self.spec.due_rate is None and time.monotonic_ns() >= self.tally.end_ns):
            return None
        if self.spec.max_requests is not None and self.begun >= self.spec.max_requests:
            self._close(f"the limit of {self.spec.max_requests:,} requests was reached")
            return None
        own = self.by_user is not None and user != NOBODY
        request = self.by_user.of(user) if self.by_user is not None and own else next(self.requests, None)
        if request is None:
            self._close(f"the requests ran out after {self.begun:,}")
            return None
        self.begun += 1
        return request

    async def _back_off(self, failures: int) -> None:
        began = time.monotonic_ns()
        await self._pause(pause_s(failures))
        now = time.monotonic_ns()
        self.pauses += self.tally.measured_ns <= began
        self.paused_ns += max(0, min(now, self.tally.end_ns) - max(began, self.tally.measured_ns))

    async def _send(self, request: Request, row: Row | None, due: int | None = None) -> Failure | None:
        """One request from its send to its end; what it failed by.  ``row`` None: it is due now.  ``due``: a slot was
        free then."""
        reply: Reply | None = None
        failure: Failure | None = None
        timeout = asyncio.timeout(self.spec.request_timeout_s)
        sent_ns = time.monotonic_ns()
        if row is None:
            row = self.events.begin(sent_ns, self.begun - 1)
        row.sent(sent_ns)
        if due is not None and due >= self.tally.measured_ns:
            self.tally.late += sent_ns - due > LATE_NS
            self.tally.missed += sent_ns - due > MISSED_NS
        try:
            async with timeout:
                reply = await self.target.send(request, row)
            end_ns = time.monotonic_ns()
            if reply is not None and reply.ended_ns is not None:
                end_ns = reply.ended_ns
            if timeout.expired():  # the target caught the cancellation and answered all the same
                reply, failure = None, self.tally.too_late()
        except (asyncio.CancelledError, GeneratorExit) as error:
            end_ns = time.monotonic_ns()
            task = asyncio.current_task()
            closed = isinstance(error, GeneratorExit) and bool(self.stubborn)
            if closed or (isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()):
                failure = self.tally.too_late() if self.expired else Failure("cancelled", "given up")
                self._end(row, None, failure, sent_ns=sent_ns, end_ns=end_ns)
                raise
            failure = Failure("target", f"{type(error).__name__}: the target cancelled its own request")
        except KeyboardInterrupt:
            raise
        except Failure as error:
            end_ns = time.monotonic_ns()
            failure = error
        except TimeoutError as error:
            end_ns = time.monotonic_ns()
            failure = self.tally.too_late() if timeout.expired() else Failure("timeout", _said(error))
        except BaseException as error:  # noqa: BLE001  whatever a system under test raises, SystemExit too, is a failure
            end_ns = time.monotonic_ns()
            failure = Failure("target", _said(error))
        failure = self._end(row, reply, failure, sent_ns=sent_ns, end_ns=end_ns)
        if self.on_reply is not None:
            self.on_reply(request, reply, failure, row)
        return failure

    def _end(
        self, row: Row, reply: Reply | None, failure: Failure | None, *, sent_ns: int | None, end_ns: int
    ) -> Failure | None:
        """Ends its row and counts it; what it failed by, of a kind that there is."""
        if reply is None:
            failure = failure or Failure("target", "send() returned nothing")
            if failure.kind not in _STATUS:
                failure = Failure("target", str(failure))
            row.end(_STATUS[failure.kind], at_ns=end_ns)
            tokens, answered = 0, row.tokens
        else:
            prompt, completion = _told(reply.prompt_tokens), _told(reply.completion_tokens)
            row.end(0, prompt, completion, len(reply.text.encode("utf-8", "surrogatepass")), end_ns, reply.counted)
            answered = row.tokens if completion is None else completion
            tokens = (prompt or 0) + answered
        if self.tally.ended(sent_ns=sent_ns, end_ns=end_ns, failure=failure, tokens=tokens, answered=answered):
            self._close(self.tally.token_limit)
        return failure

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _no_more(self) -> None:
        self.over.set()
        if self.alarm is not None:
            self.alarm.ring()

    def _close(self, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.tally.ended_by = reason
            self._no_more()

    async def _obey(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._close("stopped")

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            return

    async def _drain(self) -> None:
        """Awaits what is due, up to the time-out of a request; the rest has timed out."""
        if self.tasks and self.broken is None:
            await asyncio.wait(self.tasks, timeout=self.spec.request_timeout_s)
        if self.broken is None:
            self.expired = not self.closed
            await self._cancel(list(self.tasks))
            if self.expired:
                now = time.monotonic_ns()
                for queue in self.waiting.values():
                    for row in queue:
                        self._end(row, None, self.tally.too_late(), sent_ns=None, end_ns=now)

    async def _cancel(self, tasks: list[asyncio.Task[None]]) -> None:
        """Cancels them and waits until each has gone; errors of theirs were seen to by ``_done``.

        A target that catches its cancellation and waits on would hold up the run for good: its coroutine is closed.
        """
        for task in tasks:
            task.cancel()
        if tasks:
            _, self.stubborn = await asyncio.wait(tasks, timeout=PATIENCE_S)
        for task in self.stubborn:
            coroutine = task.get_coro()
            with contextlib.suppress(RuntimeError):  # it ignores that too
                if coroutine is not None:
                    coroutine.close()
            task.cancel()  # wakes it, to find that it is closed
        if self.stubborn:
            await asyncio.wait(self.stubborn, timeout=PATIENCE_S)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if task not in self.stubborn:
                self._break(error)
        if not self.tasks and self.spec.due_rate is None:
            self._no_more()

    def _break(self, error: BaseException | None) -> None:
        """An error of the run itself: nothing more is sent, and what is in flight is given up."""
        if error is not None and self.broken is None:
            self.broken = error
            self._close(f"{type(error).__name__}: {error}")
            for task in self.tasks:
                task.cancel()


def _told(tokens: int | None) -> int | None:
    """A token count that a server may have told; None for what cannot be one."""
    return tokens if tokens is not None and 0 <= tokens <= MOST_TOKENS else None


def _said(error: BaseException) -> str:
    """The error in words; its own ``__str__`` is the target's code and may fail as well."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  there is nothing more that it could say
        return type(error).__name__
