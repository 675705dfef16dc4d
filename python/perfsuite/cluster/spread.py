"""Loads spread over a cluster: what stands in for ``loadgen.Here`` where ``--cluster`` names one.

Every worker drives a part of each load (``parts``), begun at one instant that is agreed on by clocks related just
before (``clocks``), and tells once a second how it goes (``snapshots``), keyed by shard and attempt.  What suites read
meanwhile and afterwards is all of it as one recording (``merged``, ``outcome``).

Not every load can be spread.  Requests that follow from one another, those of a conversation across models or of a
scenario, have one source, which is in this process.  A system that shows its inside is looked into where it runs, and
runs in this process.  Those loads are driven here, and the result says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.cluster import home
from perfsuite.cluster.clocks import Clock, related
from perfsuite.cluster.engine import Engine, SchedulerGone, WorkerLost
from perfsuite.cluster.merged import Merged
from perfsuite.cluster.orders import Answer, End, Message, Order
from perfsuite.cluster.outcome import Part, added_up, row
from perfsuite.cluster.parts import parts_of, slots_of
from perfsuite.cluster.snapshots import unpacked
from perfsuite.errors import PerfsuiteError
from perfsuite.loadgen import Delivered, Here, LoadSpec
from perfsuite.targets.base import Failure, OverWire, Reply, Request
from perfsuite.workloads.requests import Conversing

if TYPE_CHECKING:
    from perfsuite.loadgen import OnReply, RawWriter, Recording
    from perfsuite.plan import Plan
    from perfsuite.targets.base import Target

ROUND_TRIPS = 7
LEAD_S = 0.5
LEADS = 20
"""A load begins LEAD_S from when all are ready, or after so many of the longest round trips, if that is later."""
LOOK_EVERY_S = 0.25
ASK_EVERY_S = 1.0
SILENT_S = 60.0
"""A shard that said nothing for so long, and should have ended, is lost."""


class Spread:
    """Drives the loads of one run over a cluster.  Use it as an async context manager."""

    def __init__(self, plan: Plan, run: str, folder: Path) -> None:
        self._run = run
        self._folder = folder
        self._place = plan.cluster or ""
        self._rerun = plan.rerun_lost
        # What workers need of the plan is how its target is opened: no collector, no key, no file of this machine's.
        self._plan = replace(plan, phases=(), collectors=(), settings=(), notes=())
        self._here = Here()
        self._engine: Engine | None = None
        self._loads = 0
        self._used: dict[str, None] = {}
        self._kept_here: dict[str, None] = {}
        self._worst_ns = 0
        self._each_own: str | None = None

    async def __aenter__(self) -> Spread:
        self._engine = await Engine.open(self._place, self._folder)
        return self

    async def __aexit__(self, *_: object) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close(self._run)

    def notes(self) -> list[str]:
        """What a reader of the result has to know of how the run was spread."""
        found = []
        if self._used:
            found.append(
                f"--cluster {self._place}: loads were driven by {len(self._used)} workers, whose clocks are related to "
                f"this one's within {self._worst_ns / 1e6:.2g} ms"
            )
        if self._each_own is not None:
            found.append(self._each_own)
        if self._kept_here:
            found.append(f"--cluster {self._place}: driven by this process alone: {'; '.join(self._kept_here)}")
        if not found:
            found.append(f"--cluster {self._place}: nothing of this run was a load that could be spread")
        return found

    # ── loadgen.Loads ─────────────────────────────────────────────────────────────────────────────────────────────────

    def recording(
        self,
        target: Target,
        requests: Iterable[Request],
        spec: LoadSpec,
        *,
        limit_ms: float,
        objectives: Mapping[str, float],
        raw: bool,
    ) -> Recording:
        """Of a load that is spread all shards'; else this process' own."""
        why = kept_here(target, requests)
        if why is None:
            return Records(warmup_ns=int(spec.warmup_s * 1e9), limit_ms=limit_ms, objectives=objectives)
        self._kept_here[why] = None
        return self._here.recording(target, requests, spec, limit_ms=limit_ms, objectives=objectives, raw=raw)

    async def drive(
        self,
        target: Target,
        requests: Iterable[Request],
        spec: LoadSpec,
        recording: Recording,
        *,
        on_reply: OnReply | None = None,
        stop: asyncio.Event | None = None,
        progress: Callable[[float], None] | None = None,
        raw: RawWriter | None = None,
        answers: bool = False,
    ) -> Delivered:
        """As ``loadgen.Loads`` says.  Raises SchedulerGone when the scheduler dies, with what was told until then in
        ``recording``."""
        if not isinstance(recording, Records):
            delivered = await self._here.drive(
                target,
                requests,
                spec,
                recording,
                on_reply=on_reply,
                stop=stop,
                progress=progress,
                raw=raw,
                answers=answers,
            )
            return replace(delivered, where=f"driven by this process alone: {kept_here(target, requests)}")
        assert self._engine is not None
        assert isinstance(requests, Conversing)
        engine = self._engine
        self._loads += 1
        workers = await engine.workers()
        if not workers:
            raise PerfsuiteError(f"--cluster {self._place}: no worker is left to drive a load")
        workers = workers[: len(parts_of(spec, len(workers)))]
        asked = await engine.prepare(workers, self._run, self._plan)
        if asked and spec.max_requests is not None:  # what is sent to find out how is within the limit too
            spec = replace(spec, max_requests=max(1, spec.max_requests - asked))
        specs = parts_of(spec, len(workers))
        load = _Load(engine, self._run, self._loads, requests, recording, on_reply, progress, raw, answers)
        parts = [Part(own, worker, Clock(0, 0)) for own, worker in zip(specs, workers, strict=False)]
        passed_s = await load.run(parts, recording, stop)
        delivered = added_up(spec, parts, recording, passed_s=passed_s)
        rows = [row(part, recording.shards.get(number)) for number, part in enumerate(parts)]
        for part in [one for one in parts if one.lost is not None] if self._rerun else []:
            again = await self._again(engine, load, part, recording, stop)
            if again is not None:
                rows.append(again)
        self._note(target, workers, parts)
        worst = max(part.clock.error_ns for part in parts) / 1e6
        return replace(
            delivered,
            sent=delivered.sent + asked,
            where=f"driven by {len(parts)} shards, a worker each, begun at one instant within {worst:.2g} ms",
            shards=rows,
        )

    async def _again(
        self, engine: Engine, load: _Load, part: Part, first: Records, stop: asyncio.Event | None
    ) -> dict[str, object] | None:
        """Drives a lost part once more, by itself; its line of the result.  Its figures are in no other: what the
        system bore beside all shards and what it bears now are two loads."""
        there = await engine.workers()
        if not there or (stop is not None and stop.is_set()):
            return None
        await engine.prepare(there[:1], self._run, self._plan)
        records = Records(warmup_ns=first.warmup_asked_ns, limit_ms=first.limit_ms, objectives=first.objectives)
        once_more = Part(part.spec, there[0], Clock(0, 0), attempt=part.attempt + 1)
        alone = load.alone(records)
        await alone.run([once_more], records, stop)
        return row(once_more, records.shards.get(part.spec.part[0]))

    def _note(self, target: Target, workers: list[str], parts: list[Part]) -> None:
        self._used |= dict.fromkeys(workers)
        self._worst_ns = max(self._worst_ns, *(part.clock.error_ns for part in parts))
        if not isinstance(target, OverWire):
            self._each_own = (
                f"{target.name} runs in the process that drives it: {len(self._used)} systems were measured, one in "
                "each worker, and figures are of all together"
            )


class Records(Merged):
    """What shards record, and what each is asked to record by."""

    def __init__(self, *, warmup_ns: int, limit_ms: float, objectives: Mapping[str, float]) -> None:
        super().__init__(warmup_ns=warmup_ns)
        self.warmup_asked_ns = warmup_ns
        self.limit_ms = limit_ms
        self.objectives = dict(objectives)


def kept_here(target: Target, requests: Iterable[Request]) -> str | None:
    """Why a load is driven by this process alone; None where it can be spread."""
    if target.inspection is not None:
        return f"{target.name} is looked into where it runs, which is here"
    if not isinstance(requests, Conversing):
        return "requests that follow from one another have one source"
    return None


class _Load:
    """One load on its way."""

    def __init__(
        self,
        engine: Engine,
        run: str,
        number: int,
        requests: Conversing,
        records: Records,
        on_reply: OnReply | None,
        progress: Callable[[float], None] | None,
        raw: RawWriter | None,
        answers: bool,
    ) -> None:
        self._engine = engine
        self._run = run
        self._number = number
        self._requests = requests
        self._records = records
        self._on_reply = on_reply
        self._progress = progress
        self._raw = raw
        self._answers = answers
        self._parts: dict[tuple[int, int], Part] = {}
        self._trouble: Exception | None = None
        self._counted_by = "usage"

    def alone(self, records: Records) -> _Load:
        """The same for a part that is driven again, of which nobody hears but ``records``."""
        return _Load(self._engine, self._run, self._number, self._requests, records, None, None, None, self._answers)

    async def run(self, parts: list[Part], records: Records, stop: asyncio.Event | None) -> float:
        """Drives the parts to their ends; how many seconds that took from the start."""
        engine = self._engine
        attempt = parts[0].attempt
        topic = f"perfsuite-{self._run}-{self._number}-{attempt}"
        engine.listen(topic, self._hear)
        trips = await asyncio.gather(*(self._trips(part.worker) for part in parts))
        longest_s = max(came - sent for of_one in trips for sent, _, came in of_one) / 1e9
        for part, of_one in zip(parts, trips, strict=True):
            part.clock = related(of_one)
            self._parts[part.spec.part[0], part.attempt] = part
        start_ns = time.monotonic_ns() + round(max(LEAD_S, LEADS * longest_s) * 1e9)
        records.start_ns = start_ns
        waiting = {
            asyncio.create_task(self._part(part, self._order(part, topic, start_ns, records))): part for part in parts
        }
        watching = asyncio.create_task(self._watch(waiting, parts, start_ns, stop))
        try:
            await asyncio.wait(waiting)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        await engine.forget(topic)
        failed = [error for task in waiting if not task.cancelled() and (error := task.exception()) is not None]
        for error in [*failed, *([self._trouble] if self._trouble is not None else [])]:
            raise error
        if self._progress is not None:
            self._progress(1.0)
        return (time.monotonic_ns() - start_ns) / 1e9

    async def _trips(self, worker: str) -> list[tuple[int, int, int]]:
        found = []
        for _ in range(ROUND_TRIPS):
            sent = time.monotonic_ns()
            try:
                there = await self._engine.call(worker, home.clock)
            except WorkerLost as error:
                raise PerfsuiteError(f"the worker {worker} was lost before the load began: {error}") from error
            found.append((sent, there, time.monotonic_ns()))
        return found

    def _order(self, part: Part, topic: str, start_ns: int, records: Records) -> Order:
        return Order(
            run=self._run,
            load=self._number,
            shard=part.spec.part[0],
            attempt=part.attempt,
            topic=topic,
            spec=replace(part.spec, start_ns=part.clock.there(start_ns)),
            recipe=self._requests.recipe,
            slots=slots_of(part.spec, self._requests.recipe.slots),
            limit_ms=records.limit_ms,
            objectives=records.objectives,
            raw=self._raw is not None,
            answers=self._answers,
        )

    async def _part(self, part: Part, order: Order) -> None:
        key = f"perfsuite-{order.run}-{order.load}-{order.shard}-{order.attempt}"
        task = self._engine.submit(part.worker, key, home.drive_part, order)
        try:
            told = await self._engine.result(task)
        except WorkerLost as error:
            part.lost = part.lost or str(error)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await task.cancel()
            if part.lost is None:
                raise
        except SchedulerGone:
            raise
        except PerfsuiteError as error:
            raise type(error)(f"on the worker {part.worker}: {error}") from error
        else:
            self._hear(told)

    def _hear(self, text: str) -> None:
        """A shard has told something."""
        try:
            message = unpacked(text, Message)
            part = self._parts.get((message.shard, message.attempt))
            if part is None or part.lost is not None or message.number <= part.number:
                return
            self._records.take(message.shard, message.records)
            part.number = message.number
            part.heard_ns = time.monotonic_ns()
            if self._raw is not None and message.records.rows:
                self._write(part, message.records.rows)
            self._tell(message)
            part.delivered = message.delivered
        except Exception as error:  # noqa: BLE001  a suite's own code, or a message of another version: the run ends
            self._trouble = self._trouble or error

    def _tell(self, message: Message) -> None:
        """The suite hears of what has ended; of most of it there are times, and no text that it would ask for."""
        if self._on_reply is None:
            return
        start_ns = self._records.start_ns
        for answer in message.answers:
            self._counted_by = answer.reply.counted_by  # what is told of is new: it stands for those that follow
            self._on_reply(answer.request, answer.reply, None, _Times(answer, start_ns))
        for end in message.ends:
            reply = None if end.failed else Reply(text="", counted_by=self._counted_by)
            failure = Failure(end.failed, "as a shard told it") if end.failed else None
            self._on_reply(UNTOLD, reply, failure, _Times(end, start_ns))

    def _write(self, part: Part, rows: bytes) -> None:
        assert self._raw is not None
        if self._raw.trouble is not None:
            return
        label = self._raw.label
        try:
            self._raw.label = f"{label}/{part.name}"
            self._raw.write(rows)
            self._raw.flush()
        except PerfsuiteError as error:
            self._raw.give_up(str(error))
        finally:
            self._raw.label = label

    async def _watch(
        self, waiting: Mapping[asyncio.Task[None], Part], parts: list[Part], start_ns: int, stop: asyncio.Event | None
    ) -> None:
        """Tells how far it is, asks shards to stop, and gives up those that are gone.  Ends the load by cancelling what
        waits."""
        asked = time.monotonic()
        spec = parts[0].spec
        latest_s = spec.duration_s + spec.request_timeout_s + SILENT_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = time.monotonic_ns()
            passed_s = (now - start_ns) / 1e9
            try:
                if self._progress is not None:
                    self._progress(min(1.0, max(0.0, passed_s / spec.duration_s)))
                if time.monotonic() - asked < ASK_EVERY_S:
                    continue
                there = set(await self._engine.workers())
                asked = time.monotonic()
            except Exception as error:  # noqa: BLE001  the scheduler is gone, or a view of the run broke
                self._trouble = self._trouble or error
                for task in waiting:
                    task.cancel()
                return
            for task, part in waiting.items():
                silent_s = (now - max(part.heard_ns, start_ns)) / 1e9
                if task.done():
                    continue
                if part.worker not in there:
                    part.lost = "its worker is gone"
                elif passed_s > latest_s and silent_s > SILENT_S:
                    part.lost = f"it said nothing for {silent_s:.0f} s"
                else:
                    if self._trouble is not None or (stop is not None and stop.is_set()):
                        with contextlib.suppress(WorkerLost, SchedulerGone):  # which is seen above the next time
                            await self._engine.call(part.worker, home.stop, self._run)
                    continue
                task.cancel()


class _Times:
    """When an answer came, as it was told."""

    def __init__(self, told: Answer | End, start_ns: int) -> None:
        self.due_ns = start_ns + told.due_ns
        self.tokens = told.tokens
        self.ttft_ms = told.ttft_ms
        self.response_time_ms = told.response_time_ms


UNTOLD = Request(message="", messages=(), user_id="", conversation_id="")
"""Stands for a request of a shard's of which only times are told."""
