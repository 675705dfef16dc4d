"""Drives a plan: opens the target, runs each phase's probes beside the collectors, keeps what was measured.

Whatever happens — an error, a signal, a time-out — the result so far is returned, and is handed to ``save`` at the end
of each phase and at least every ten seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perfsuite.analysis.advice import advise
from perfsuite.analysis.verdict import exit_code, run_verdict
from perfsuite.collectors import asked_for
from perfsuite.environment import environment
from perfsuite.errors import PerfsuiteError
from perfsuite.exports.outlets import Outlet, open_outlets
from perfsuite.heap import give_back
from perfsuite.loadgen import RawWriter
from perfsuite.plan import Phase, Plan
from perfsuite.result import PhaseResult, Result, Run
from perfsuite.scratch import scratch_folder
from perfsuite.suites.budget import Budget, parts
from perfsuite.suites.expected import expected
from perfsuite.suites.first_answer import First, first_answer
from perfsuite.suites.phase import PhaseRun
from perfsuite.suites.session import Stretch
from perfsuite.targets import open_target
from perfsuite.targets.base import Target, Warns
from perfsuite.targets.http.wired import Wired

if TYPE_CHECKING:
    from perfsuite.cluster.spread import Spread

SAVE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the phase, its number of how many, the share of it that is done, the seconds left of all."""

    phase: str
    number: int
    phases: int
    share: float
    remaining_s: float


OnProgress = Callable[[Progress], None]
Save = Callable[[Result], None]
Announce = Callable[[First], None]
Watch = Callable[[Stretch], None]


async def execute_async(
    plan: Plan,
    *,
    progress: OnProgress | None = None,
    stop: asyncio.Event | None = None,
    save: Save | None = None,
    notes: Iterable[str] = (),
    announce: Announce | None = None,
    watch: Watch | None = None,
    beside: Iterable[int] = (),
) -> Result:
    """Runs a plan.

    ``stop``: set it to end the run early; the requests in flight are finished, the result says ``interrupted``.
    ``save`` is called with the result so far, from another thread; its OSError becomes a note in the result.
    ``notes`` are what is known beforehand and belongs in the result's notes.  ``announce`` wants to say what the run
    will send: it gets what came of a first message, which is sent for that, within the run's limits.  ``watch`` gets
    the stretch of load that is being driven, at each of its ticks.  ``beside`` are the ids of processes that whoever
    calls has started for himself: no part of what is measured.
    Raises UsageError for a target that cannot be opened; what goes wrong later is in the result's ``run.error``.
    """
    run = _Run(plan, stop or asyncio.Event(), progress, save, notes, announce, watch, frozenset(beside))
    return await run.execute()


class _Run:
    def __init__(
        self,
        plan: Plan,
        stop: asyncio.Event,
        progress: OnProgress | None,
        save: Save | None,
        notes: Iterable[str],
        announce: Announce | None,
        watch: Watch | None,
        beside: frozenset[int],
    ) -> None:
        self.plan = plan
        self._announce = announce
        self._watch = watch
        self._beside = beside
        self.stop = stop
        self._progress = progress
        self._save = save
        self._done: list[PhaseResult] = []
        self._current: PhaseRun | None = None
        self._notes = [*plan.notes, *notes]
        self._error: str | None = None
        self._started = time.time()
        self._id = _identity(self._started)
        self._environment = environment("none: no target was opened", plan.collectors)
        self._target: Target | None = None
        self._raw: RawWriter | None = None
        self._spread: Spread | None = None
        self._outlets: list[Outlet] = []
        self._saving = asyncio.Lock()
        self._budget = Budget(whose="the run's", most_requests=plan.load.max_requests, most_tokens=plan.load.max_tokens)
        self._parts = parts([sum(expected(plan, phase).values()) for phase in plan.phases])

    async def execute(self) -> Result:
        asked = await asyncio.to_thread(asked_for, self.plan.collect)
        here = self._environment
        self._environment = msgspec.structs.replace(here, collectors={**here.collectors, **asked})
        self._outlets = open_outlets(self.plan)
        with self._folder() as folder, self._raw_file():
            async with self._spreading(Path(folder)):
                await self._measure(Path(folder))
        result = self._result(ended=time.time())
        for outlet in self._outlets:
            await asyncio.to_thread(outlet.close, result)
        return msgspec.structs.replace(result, run=msgspec.structs.replace(result.run, notes=self._all_notes()))

    async def _measure(self, folder: Path) -> None:
        target = await open_target(self.plan, folder)
        self._target = target
        self._environment = msgspec.structs.replace(self._environment, stamps=target.stamps)
        saver = asyncio.create_task(self._save_regularly())
        try:
            await self._first(target)
            for number, phase in enumerate(self.plan.phases):
                if self.stop.is_set():
                    break
                await self._phase(number, phase, target)
                if self._error is not None:
                    break
        finally:
            async with self._saving:  # not while it writes: its thread would go on and outlive the run
                saver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await saver
            await self._close(target)

    @contextlib.asynccontextmanager
    async def _spreading(self, folder: Path) -> AsyncIterator[None]:
        """While it lasts loads are driven by the plan's cluster, where it names one."""
        if self.plan.cluster is None:
            yield
            return
        from perfsuite.cluster.spread import Spread

        async with Spread(self.plan, self._id, folder) as self._spread:
            yield

    async def _first(self, target: Target) -> None:
        """A message before all others, where somebody wants to say what such answers come to."""
        found = None if self._announce is None else await first_answer(target, self.plan, self.stop)
        if self._announce is not None and found is not None:
            first, tokens = found
            self._budget.spend(1, tokens)
            self._announce(first)
        limited = self._budget.requests_left is not None or self._budget.tokens_left is not None
        if limited and isinstance(target, Wired) and target.endpoints() and not self.stop.is_set():
            self._budget.spend(await target.ready(), 0)  # now: what is sent to find out how is within the limit too

    @contextlib.contextmanager
    def _folder(self) -> Iterator[str]:
        """A folder for the target's files, gone afterwards as far as that can be done."""
        with contextlib.ExitStack() as open_:
            try:
                folder = open_.enter_context(scratch_folder("run"))
            except OSError as error:
                reason = error.strerror or error
                where = error.filename or tempfile.gettempdir()
                raise PerfsuiteError(
                    f"cannot make the temporary folder {where}: {reason}; name another with TMPDIR"
                ) from error
            yield str(folder)

    @contextlib.contextmanager
    def _raw_file(self) -> Iterator[None]:
        """The file of raw rows; one that cannot be written any more takes nothing of what is measured along."""
        self._raw = None if self.plan.raw is None else RawWriter(self.plan.raw)
        try:
            yield
        finally:
            if self._raw is not None and self._raw.trouble is None:
                try:
                    self._raw.close()
                except PerfsuiteError as error:
                    self._raw.give_up(str(error))

    async def _phase(self, number: int, phase: Phase, target: Target) -> None:
        self._current = PhaseRun(
            plan=self.plan,
            phase=phase,
            target=target,
            stop=self.stop,
            progress=lambda share: self._report(number, share),
            raw=self._raw,
            budget=self._budget.share(self._parts[number]),
            watch=self._watch,
            beside=self._beside,
            loads=self._spread,
        )
        try:
            await self._current.run()
        except PerfsuiteError as error:
            self._error = str(error)
        except Exception as error:  # noqa: BLE001 - the run ends with it, and what was measured is kept
            self._error = f"internal error in phase {phase.name}: {type(error).__name__}: {error}"
            if self.plan.verbose:
                self._notes.append(traceback.format_exc())
        self._done.append(self._current.result(error=self._error))
        self._current = None
        await self._store()

    async def _close(self, target: Target) -> None:
        try:
            await target.close()
        except Exception as error:  # noqa: BLE001 - everything is measured by now
            self._notes.append(f"closing {target.name} failed: {type(error).__name__}: {error}")

    def _report(self, number: int, share: float) -> None:
        if self._progress is not None:
            phases = self.plan.phases
            left = sum(phase.duration_s for phase in phases[number + 1 :]) + phases[number].duration_s * (1.0 - share)
            self._progress(Progress(phases[number].name, number + 1, len(phases), share, left))

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self._store()

    async def _store(self) -> None:
        if self._save is None and not self._outlets:
            return
        try:
            async with self._saving:  # the end of a phase and the ten seconds may fall together
                result = self._result(ended=None)
                for outlet in self._outlets:
                    await asyncio.to_thread(outlet.publish, result)
                if self._save is not None:
                    await asyncio.to_thread(self._save, result)
                await asyncio.to_thread(give_back)
        except OSError as error:
            note = f"the result so far could not be saved: {error}"
            if note not in self._notes:
                self._notes.append(note)

    def _phases(self) -> Iterator[PhaseResult]:
        yield from self._done
        if self._current is not None:
            yield self._current.result(error=None, partial=True)

    @property
    def _trouble(self) -> str | None:
        return None if self._raw is None else self._raw.trouble

    def _all_notes(self) -> list[str]:
        notes = [*self._notes, *([f"{self._trouble}; what is measured is whole without them"] if self._trouble else [])]
        notes += [outlet.trouble for outlet in self._outlets if outlet.trouble is not None]
        notes += self._spread.notes() if self._spread is not None else []
        return [*notes, *(self._target.warnings if isinstance(self._target, Warns) else ())]

    def _result(self, ended: float | None) -> Result:
        phases = list(self._phases())
        interrupted = self.stop.is_set() or ended is None
        verdict = run_verdict(phases, self.plan, interrupted=interrupted)
        target = self._target
        trouble = self._trouble
        return Result(
            run=Run(
                id=self._id,
                started=_iso(self._started),
                ended=None if ended is None else _iso(ended),
                target=self.plan.target,
                seed=self.plan.seed,
                profile=self.plan.profile,
                plan=_plain(self.plan),
                simulated=list(target.simulated) if target is not None else [],
                notes=self._all_notes(),
                error=self._error,
                exit_code=exit_code(phases, self.plan, interrupted=interrupted, error=self._error or trouble),
                verdict=verdict,
            ),
            environment=self._environment,
            phases=phases,
            recommendations=advise(phases),
        )


def _identity(started: float) -> str:
    import secrets

    return f"{time.strftime('%Y%m%d_%H%M%S', time.localtime(started))}-{secrets.token_hex(4)}"


def _iso(seconds: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def _plain(plan: Plan) -> dict[str, object]:
    built = msgspec.to_builtins(plan, enc_hook=str)
    assert isinstance(built, dict)
    return built
