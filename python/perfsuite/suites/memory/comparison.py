"""Several memory systems on the same data, side by side, fairly.

Each round takes the systems in turn, beginning with another one, so that what the machine does meanwhile falls on all
of them.  What a rule of fairness forbids is not shown: RULES says so in every report.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any, Protocol

from perfsuite import stats
from perfsuite.analysis.retrieval import FLOOR, HEADLINE, PLACES, by_cluster
from perfsuite.analysis.tokens import Tokenizer, tokenizer
from perfsuite.environment import environment
from perfsuite.errors import Mistakes, PerfsuiteError, UsageError
from perfsuite.memory.host import Hosted
from perfsuite.scratch import scratch_folder
from perfsuite.suites.memory import lasting
from perfsuite.suites.memory.comparison_result import PLUMBING, Comparison, Paired, SystemResult
from perfsuite.suites.memory.lasting import WAIT_S
from perfsuite.suites.memory.models import Models, ModelSettings
from perfsuite.suites.memory.quality import System, Tally, take
from perfsuite.workloads.memories import Case, Workload, digest

BASELINES = ("fts5", "sqlite-vec")
ALPHA = 0.05
RULES = (
    "Every system stores the same bytes in the same order, and is asked the same questions with the same k; embeddings "
    "that the model's endpoint makes have the same dimension.",
    "Every round starts each system anew, in a process and an empty folder of its own; rounds take the systems in turn "
    "and begin with another one each.",
    "Calls are timed in the system's own process, around the call alone.",
    f"Latencies are void where recall@k on verbatim questions is below {FLOOR:g}.",
    "Systems that let a model decide what is stored (extracting) and systems that store what they are given (raw) are "
    "separate classes.",
    "Calls to the model, the characters of prompts and the time of waiting for it are counted apart, and are in the "
    "latencies too.",
    "The two baselines (full-text search and vector search in SQLite) are always there, or it is said why not.",
    "A canned model ranks no quality: what rests on the stand-in is headed as plumbing only.",
    PLACES,
    "A hit counts by the marker of the fact in its text, or by the label of the published set: no model judges.",
)
Say = Callable[[str], object]
Meter = Callable[[], Mapping[str, float]]


class Start(Protocol):
    """Opens a system on a folder, which keeps its state; ``async with`` what it gives."""

    def __call__(
        self, workdir: Path, *, model_url: str | None, dim: int, timeout_s: float, meter: Meter
    ) -> AbstractAsyncContextManager[System]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A system that takes part.  ``missing``: why it cannot be started, and what to do; ``unverified``: why nothing can
    be said of a service elsewhere.  ``lasts``: it can be killed and started again in its folder.  ``waits_for``: what
    its start waits for, where that may take minutes."""

    name: str
    start: Start
    kind: str = "raw"
    note: str = ""
    missing: str | None = None
    unverified: str | None = None
    asked_for: bool = True
    lasts: bool = True
    waits_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """``rounds``: of each case.  ``lasting``: whether visibility and durability are measured too, and ``wait_s`` how
    long a fact is looked for then."""

    workload: Workload
    k: int = 5
    dim: int = 384
    rounds: int = 3
    seed: int = 0
    timeout_s: float = 60.0
    model: ModelSettings = field(default_factory=ModelSettings)
    lasting: bool = True
    wait_s: float = WAIT_S


def entrants(names: Sequence[str] = ()) -> list[Entrant]:
    """The systems of those names, and the baselines; without a name every known system but those that are clients of a
    service elsewhere.

    UsageError with every name that is not known.
    """
    from perfsuite.memory import registry

    mistakes = Mistakes()
    chosen: list[registry.Known] = []
    for name in names or [one.name for one in registry.known().values() if one.kind != "client"]:
        with mistakes.noted():
            chosen.append(registry.find(name))
    mistakes.check()
    known = {one.name: one for one in chosen}
    found = [_entrant(one, bool(names)) for one in known.values()]
    found += [_entrant(registry.find(name), False) for name in BASELINES if name not in known]
    return found


def _entrant(known: Any, asked_for: bool) -> Entrant:
    from perfsuite.memory import registry

    # What names a class itself has that name for its own alone.
    address = known.name if known.name in registry.known() else known.factory

    def start(
        workdir: Path, *, model_url: str | None, dim: int, timeout_s: float, meter: Meter
    ) -> AbstractAsyncContextManager[System]:
        return Hosted.start(
            address, workdir=workdir, model_url=model_url, dim=dim, timeout_s=timeout_s, model_meter=meter
        )

    return Entrant(
        name=known.name,
        start=start,
        kind=known.kind,
        note=known.note,
        missing=registry.missing(address),
        unverified=registry.unverified(known),
        asked_for=asked_for,
        lasts=known.kind != "client",
        waits_for=f"up to {known.start_s:g} s for {known.waits_for}" if known.waits_for else "",
    )


async def compare(settings: ComparisonSettings, systems: Sequence[Entrant], say: Say = lambda text: None) -> Comparison:
    """Measures, and never raises for what a system does: that is in its result.

    When the task is cancelled, what was measured so far is returned, marked as interrupted.
    """
    if settings.rounds < 1 or settings.k < 1:
        raise UsageError(f"rounds and k must be 1 or more, not {settings.rounds} and {settings.k}")
    work = _Work(settings, list(systems), say)
    try:
        await work.run()
    except asyncio.CancelledError:
        work.interrupted = True
    return work.result()


class _Work:
    """A comparison under way."""

    def __init__(self, settings: ComparisonSettings, systems: list[Entrant], say: Say) -> None:
        names = [one.name for one in systems]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"{twice} takes part twice: name each system once")
        self._settings = settings
        self._systems = systems
        self._say = say
        self._counter: Tokenizer = tokenizer()
        self._started = datetime.now(UTC)
        self._results = {
            one.name: SystemResult(name=one.name, kind=one.kind, baseline=one.name in BASELINES) for one in systems
        }
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._models: Models
        self._described = ""
        self.interrupted = False
        for one in systems:
            result = self._results[one.name]
            if one.missing is not None:
                result.status, result.reason = "not installed", one.missing
            elif one.unverified is not None:
                result.status, result.reason = "unverified", one.unverified

    async def run(self) -> None:
        holding = ExitStack()
        folder = holding.enter_context(scratch_folder("compare"))
        try:
            async with Models(self._settings.model, self._settings.dim) as self._models:
                try:
                    await self._rounds(folder)
                    self._drop_failed()
                    if self._settings.lasting:
                        await self._lasting(folder)
                finally:
                    self._described = self._models.described
                    for name, result in self._results.items():
                        result.trouble += [text for text in self._models.trouble(name) if text not in result.trouble]
                        result.rests_on_stand_in = self._models.rests_on_stand_in(name)
        finally:
            await asyncio.to_thread(holding.close)

    def _running(self) -> list[Entrant]:
        return [one for one in self._systems if self._results[one.name].status == "measured"]

    async def _rounds(self, folder: Path) -> None:
        for case in self._settings.workload.cases():
            seen = digest(case.memories(), case.questions())
            for number in range(self._settings.rounds):
                order = self._running()
                turn = number % len(order) if order else 0
                for entrant in [*order[turn:], *order[:turn]]:
                    self._say(f"{case.name}, round {number + 1} of {self._settings.rounds}: {_name(entrant)}")
                    await self._once(entrant, case, number, seen, folder)

    async def _once(self, entrant: Entrant, case: Case, number: int, seen: str, folder: Path) -> None:
        result = self._results[entrant.name]
        place = Path(tempfile.mkdtemp(prefix=f"{number}-", dir=folder))
        try:
            async with self._start(entrant, place) as system:
                await self._introduce(result, system)
                taken = await take(system, case, k=self._settings.k, count=self._counter.count)
        except (PerfsuiteError, OSError) as error:
            result.status = "failed"
            result.reason = f"{case.name}, round {number + 1}: {error}"
            return
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        tally = self._tallies.setdefault((entrant.name, case.group), Tally(name=case.group))
        tally.digest = seen if tally.digest in ("", seen) else "several"
        tally.add(case.name, number, taken)

    def _drop_failed(self) -> None:
        """A system of which every call failed has failed; it found nothing because it was not there to look."""
        for (name, of), tally in list(self._tallies.items()):
            if failure := tally.failure():
                del self._tallies[name, of]
                result = self._results[name]
                if result.status == "measured":
                    result.status, result.reason = "failed", f"{of}: {failure}"

    @asynccontextmanager
    async def _start(self, entrant: Entrant, place: Path) -> AsyncIterator[System]:
        """The system; one that fails only when it is closed has been measured by then, and its figures stay."""
        used = False
        try:
            async with entrant.start(
                place,
                model_url=self._models.url_of(entrant.name),
                dim=self._settings.dim,
                timeout_s=self._settings.timeout_s,
                meter=lambda: self._models.meter(entrant.name),
            ) as system:
                yield system
                used = True
        except (PerfsuiteError, OSError) as error:
            if not used:
                raise
            trouble, text = self._results[entrant.name].trouble, f"{error}; what was measured before is kept"
            if text not in trouble:
                trouble.append(text)

    async def _introduce(self, result: SystemResult, system: System) -> None:
        if result.start_ms is not None:
            return
        info = await system.info()
        result.kind = str(info.get("class") or result.kind)
        result.version = str(info.get("version") or "")
        configuration = info.get("configuration")
        result.configuration = dict(configuration) if isinstance(configuration, Mapping) else {}
        result.disabled, result.patches, result.notes = (
            _texts(info.get(name)) for name in ("disabled", "patches", "notes")
        )
        result.start_ms = float(getattr(system, "import_ms", 0.0)) + float(getattr(system, "initialize_ms", 0.0))

    async def _lasting(self, folder: Path) -> None:
        for entrant in self._running():
            result = self._results[entrant.name]
            self._say(f"visible and durable: {_name(entrant)}")
            seed, k = self._settings.seed, self._settings.k

            def starts(workdir: Path, entrant: Entrant = entrant) -> AbstractAsyncContextManager[System]:
                return self._start(entrant, workdir)

            place = Path(tempfile.mkdtemp(prefix="lasting-", dir=folder))
            try:
                result.stored, result.updated = await lasting.visibility(
                    starts, place, seed=seed, k=k, wait_s=self._settings.wait_s
                )
                if entrant.lasts:
                    result.durability = await lasting.durability(starts, place / "again", seed=seed, k=k)
            except (PerfsuiteError, OSError) as error:
                result.trouble.append(f"visibility and durability: {error}")
            finally:
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def result(self) -> Comparison:
        """What there is by now."""
        self._drop_failed()
        for (name, _), tally in self._tallies.items():
            self._results[name].groups.append(tally.group())
        for one in self._results.values():
            if one.status == "measured" and not one.groups:
                one.status, one.reason = "not measured", "the comparison was interrupted before its turn was over"
        settings = self._settings
        results = list(self._results.values())
        heading = PLUMBING if any(one.rests_on_stand_in for one in results) else ""
        workload = settings.workload
        damaged = [f"line {one.line}: {one.reason}" for one in getattr(workload, "unusable", ())]
        more = getattr(workload, "unusable_count", 0) - len(damaged)
        return Comparison(
            id=secrets.token_hex(8),
            started=self._started.isoformat(timespec="seconds"),
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            heading=heading,
            interrupted=self.interrupted,
            settings={
                "k": settings.k,
                "dim": settings.dim,
                "rounds": settings.rounds,
                "seed": settings.seed,
                "timeout_s": settings.timeout_s,
                "chat_delay_ms": settings.model.chat_ms,
                "embedding_delay_ms": settings.model.embedding_ms,
            },
            data=workload.described,
            tokenizer=self._counter.name,
            model=self._described,
            rules=list(RULES),
            damaged=[*damaged, *([f"and {more:,} more"] if more > 0 else [])],
            environment=environment("the monotonic clock, around each call in the system's own process"),
            systems=results,
            pairs=[] if heading else self._pairs(),
        )

    def _pairs(self) -> list[Paired]:
        """Every two systems on the headline measure, by group; adjusted for there being so many (Holm)."""
        found: list[Paired] = []
        for group in dict.fromkeys(group for _, group in self._tallies):
            some: list[Paired] = []
            for a, b in combinations([name for name, of in self._tallies if of == group], 2):
                first = by_cluster(self._tallies[a, group].scored, HEADLINE)
                second = by_cluster(self._tallies[b, group].scored, HEADLINE)
                with contextlib.suppress(ValueError):  # no conversation was asked of both
                    difference = stats.paired_difference(*first.aligned(second))
                    some.append(
                        Paired(
                            group=group,
                            measure=HEADLINE,
                            a=a,
                            b=b,
                            difference=difference.estimate,
                            low=difference.low,
                            high=difference.high,
                            p_value=difference.p_value,
                            verdict="",
                        )
                    )
            for pair, adjusted in zip(some, stats.holm([one.p_value for one in some]), strict=True):
                pair.p_value = adjusted
                better = pair.a if pair.difference > 0 else pair.b
                pair.verdict = f"{better} finds more" if adjusted < ALPHA else "no difference shown"
            found += some
        return found


def _name(entrant: Entrant) -> str:
    return f"{entrant.name} ({entrant.waits_for})" if entrant.waits_for else entrant.name


def _texts(value: object) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]
