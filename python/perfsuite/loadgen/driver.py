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
from perfsuite.loadgen.alarm import SECOND, Alarm
from perfsuite.loadgen.backoff import UNREACHED, pause_s, pauses_said
from perfsuite.loadgen.raw import pour
from perfsuite.loadgen.schedule import NOBODY, schedule
from perfsuite.loadgen.spec import MISSED_NS, ByUser, Delivered, LoadSpec, shortfall
from perfsuite.loadgen.tally import EXAMPLES, LATE_NS, OnReply, shortened, warmed_up
from perfsuite.targets.base import Failure, Reply, Request

if TYPE_CHECKING:
    from perfsuite._core import Events, Row
    from perfsuite.loadgen.raw import RawWriter
    from perfsuite.targets.base import Target

TICK_S = 0.25
PATIENCE_S = 1.0
"""For a cancelled request to end."""
TICKS_A_FLUSH = 4
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
        self.progress = progress
        self.raw = raw
        self.begun = 0
        self.tokens = self.answered = 0
        self.in_time = 0
        self.late = self.missed = 0
        self.pauses = 0
        self.paused_ns = 0
        self.last_end_ns = 0
        self.examples: dict[str, list[str]] = {}
        self.ended: str | None = None
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
        events, spec = self.events, self.spec
        before = (events.started, events.completed, events.failed, events.warmup)
        self.start_ns = time.monotonic_ns()
        if events.started == 0 and events.warmup == 0:
            events.start_ns = self.start_ns
        self.measured_ns = self.start_ns + round(spec.warmup_s * SECOND)
        self.end_ns = self.start_ns + round(spec.duration_s * SECOND)
        loop = asyncio.get_running_loop()
        helpers = [loop.create_task(self._tick())]
        if stop is not None:
            helpers.append(loop.create_task(self._obey(stop)))
        try:
            await (self._closed_loop() if spec.due_rate is None else self._open_loop())
            await self._drain()
        finally:
            await self._cancel([*self.tasks, *helpers])
            self.waiting.clear()
        if self.raw is not None:
            try:
                await pour(self.events, self.raw)
            except Exception as error:  # noqa: BLE001  raised below, unless something went wrong before it
                self._break(error)
        if self.broken is not None:
            raise self.broken
        if self.progress is not None:
            self.progress(1.0)
        return self._delivered(before)

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
                due = self.start_ns + offset
                if due >= self.end_ns:
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
                await self.alarm.until(self.end_ns)

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
        if self.closed or (self.spec.due_rate is None and time.monotonic_ns() >= self.end_ns):
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
        self.pauses += self.measured_ns <= began
        self.paused_ns += max(0, min(now, self.end_ns) - max(began, self.measured_ns))

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
        self.in_time += self.measured_ns <= sent_ns < self.end_ns
        if due is not None and due >= self.measured_ns:
            self.late += sent_ns - due > LATE_NS
            self.missed += sent_ns - due > MISSED_NS
        try:
            async with timeout:
                reply = await self.target.send(request, row)
            end_ns = time.monotonic_ns()
            if reply is not None and reply.ended_ns is not None:
                end_ns = reply.ended_ns
            if timeout.expired():  # the target caught the cancellation and answered all the same
                reply, failure = None, self._too_late()
        except (asyncio.CancelledError, GeneratorExit) as error:
            end_ns = time.monotonic_ns()
            task = asyncio.current_task()
            closed = isinstance(error, GeneratorExit) and bool(self.stubborn)
            if closed or (isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()):
                self._end(row, None, self._too_late() if self.expired else Failure("cancelled", "given up"), end_ns)
                raise
            failure = Failure("target", f"{type(error).__name__}: the target cancelled its own request")
        except KeyboardInterrupt:
            raise
        except Failure as error:
            end_ns = time.monotonic_ns()
            failure = error
        except TimeoutError as error:
            end_ns = time.monotonic_ns()
            failure = self._too_late() if timeout.expired() else Failure("timeout", _said(error))
        except BaseException as error:  # noqa: BLE001  whatever a system under test raises, SystemExit too, is a failure
            end_ns = time.monotonic_ns()
            failure = Failure("target", _said(error))
        self._end(row, reply, failure, end_ns)
        if self.on_reply is not None:
            self.on_reply(request, reply, failure, row)
        return failure

    def _end(self, row: Row, reply: Reply | None, failure: Failure | None, end_ns: int) -> None:
        self.last_end_ns = max(self.last_end_ns, end_ns)
        if reply is None:
            failure = failure or Failure("target", "send() returned nothing")
            kind = failure.kind if failure.kind in _STATUS else "target"
            row.end(_STATUS[kind], at_ns=end_ns)
            examples = self.examples.setdefault(kind, [])
            if len(examples) < EXAMPLES and kind != "cancelled" and (text := shortened(str(failure))) not in examples:
                examples.append(text)
            return
        prompt, completion = _told(reply.prompt_tokens), _told(reply.completion_tokens)
        row.end(0, prompt, completion, len(reply.text.encode("utf-8", "surrogatepass")), end_ns)
        answered = row.tokens if completion is None else completion
        self.answered += answered
        self.tokens += (prompt or 0) + answered
        if end_ns < self.measured_ns and warmed_up(self.spec, self.events, self.begun, self.tokens):
            self.measured_ns = self.events.start_ns + self.events.warmup_ns
        if self.spec.max_tokens is not None and self.tokens >= self.spec.max_tokens:
            self._close(f"the limit of {self.spec.max_tokens:,} tokens was reached")

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _no_more(self) -> None:
        self.over.set()
        if self.alarm is not None:
            self.alarm.ring()

    def _close(self, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.ended = reason
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
                        self._end(row, None, self._too_late(), now)

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

    def _too_late(self) -> Failure:
        return Failure("timeout", f"no end within {self.spec.request_timeout_s:g} s")

    # ── beside the load ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _tick(self) -> None:
        ticks = 0
        try:
            while True:
                await asyncio.sleep(TICK_S)
                ticks += 1
                if self.progress is not None:
                    self.progress(min(1.0, (time.monotonic_ns() - self.start_ns) / (self.end_ns - self.start_ns)))
                if self.raw is not None and ticks % TICKS_A_FLUSH == 0:
                    await pour(self.events, self.raw)
        except Exception as error:  # noqa: BLE001  raised again by run()
            self._break(error)

    def _delivered(self, before: tuple[int, ...]) -> Delivered:
        events, spec = self.events, self.spec
        now = (events.started, events.completed, events.failed, events.warmup)
        started, completed, failed, warmup = (count - then for count, then in zip(now, before, strict=True))
        until = min(self.last_end_ns, self.end_ns) if self.closed else self.end_ns
        measured_s = max(0, until - self.measured_ns) / SECOND
        rate = self.in_time / measured_s if measured_s > 0.0 else 0.0
        short = shortfall(
            spec, due=started, in_time=self.in_time, missed=self.missed, begun=self.begun, ended=self.ended is not None
        )
        return Delivered(
            max_in_flight=events.max_in_flight,
            rate=rate,
            requests=started,
            completed=completed,
            failed=failed,
            duration_s=measured_s,
            late_sends=self.late,
            sent=self.begun,
            tokens=self.tokens,
            warmup=warmup,
            due_rate=started / measured_s if spec.due_rate is not None and measured_s > 0.0 else None,
            ended=self.ended,
            short=short,
            examples=self.examples,
            answered=self.answered,
            pauses=self.pauses,
            paused_s=self.paused_ns / SECOND,
            warnings=pauses_said(self.pauses, self.paused_ns / SECOND),
        )


def _told(tokens: int | None) -> int | None:
    """A token count that a server may have told; None for what cannot be one."""
    return tokens if tokens is not None and 0 <= tokens <= MOST_TOKENS else None


def _said(error: BaseException) -> str:
    """The error in words; its own ``__str__`` is the target's code and may fail as well."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  there is nothing more that it could say
        return type(error).__name__
