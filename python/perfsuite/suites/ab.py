"""Two versions on one machine, in turns: the comparison to rely on where every run may get another host.

Each side is measured by short runs in fresh processes, in the order base head, head base, base head, …: what the
machine does meanwhile comes to both alike.  One run of each goes before and is thrown away (bytecode, page cache).
Then runs are compared with runs (``analysis.regression``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from perfsuite.analysis.comparable import conditions, differing, figures
from perfsuite.analysis.judging import Judgement, RunFigures, judge
from perfsuite.analysis.regression import FEWEST_RUNS, Verdict, worst
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.history.baselines import check_units
from perfsuite.result import Environment, Result
from perfsuite.scratch import scratch_folder
from perfsuite.suites.fresh import RunFailed, Stopped, measure
from perfsuite.suites.sides import Side, check_origin, laid_out

SCHEMA_VERSION = 1
PAIRS = 10
MOST_FAILURES = 3
"""So many runs of a side may fail before it counts as broken."""
OF_SIDES = frozenset({"target", "models"})
"""What of the configuration may differ between the sides: it is what is compared."""


class SideReport(msgspec.Struct, frozen=True, kw_only=True):
    """A side: what was given, what it is, and the target that it measured."""

    given: str
    kind: str
    name: str
    target: str = ""
    commit: str | None = None
    failed: int = 0


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run, in the order in which they were made: its figures by key, or why it has none."""

    side: Literal["base", "head"]
    started: str = ""
    values: dict[str, float] = msgspec.field(default_factory=dict)
    error: str | None = None


class AbReport(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``ab-TS.json``."""

    started: str
    ended: str
    verdict: Verdict
    pairs: int
    words: list[str]
    base: SideReport
    head: SideReport
    environment: Environment
    configuration: dict[str, Any]
    judgements: list[Judgement]
    runs: list[RunReport]
    notes: list[str] = msgspec.field(default_factory=list)
    interrupted: bool = False
    kind: Literal["ab"] = "ab"
    schema_version: Literal[1] = 1


class Step(NamedTuple):
    """How far it is: ``pair`` 0 is the run that goes before."""

    pair: int
    pairs: int
    side: str


def compare(
    base: str,
    head: str,
    words: Sequence[str],
    *,
    pairs: int = PAIRS,
    build: bool = True,
    run_s: float = 3600.0,
    progress: Callable[[Step], object] = lambda step: None,
    stopped: Callable[[], bool] = lambda: False,
) -> AbReport:
    """Measures both and compares them.  ``words`` are those of ``perfsuite run`` for both sides.

    Stopped early, it compares what there is.  Raises UsageError for sides that cannot be used or compared,
    PerfsuiteError where one of them does not run."""
    started = _now()
    with (
        scratch_folder("ab") as scratch,
        laid_out(base, "base", scratch, build=build) as one,
        laid_out(head, "head", scratch, build=build) as other,
    ):
        bench = _Bench((one, other), words, run_s, stopped)
        bench.warm(lambda side: progress(Step(0, pairs, side)))
        interrupted = bench.measure(pairs, progress)
    judgements = bench.judgements()
    verdict = worst(judged.verdict for judged in judgements)
    return AbReport(
        started=started,
        ended=_now(),
        verdict=verdict,
        pairs=pairs,
        words=list(words),
        base=bench.report(one),
        head=bench.report(other),
        environment=bench.first["base"].environment,
        configuration=bench.configuration,
        judgements=judgements,
        runs=bench.runs,
        notes=bench.notes(),
        interrupted=interrupted,
    )


class _Bench:
    """The runs of both sides, as they come in."""

    def __init__(
        self, sides: tuple[Side, Side], words: Sequence[str], run_s: float, stopped: Callable[[], bool]
    ) -> None:
        self._sides = sides
        self._words = tuple(words)
        self._run_s = run_s
        self._stopped = stopped
        self.first: dict[str, Result] = {}
        self.configuration: dict[str, Any] = {}
        self.results: dict[str, list[Result]] = {"base": [], "head": []}
        self.failures: dict[str, list[str]] = {"base": [], "head": []}
        self.runs: list[RunReport] = []

    def warm(self, progress: Callable[[str], object]) -> None:
        """One run of each side, which finds what is wrong with it, and is otherwise thrown away."""
        for side in self._sides:
            progress(side.role)
            try:
                result = self._run(side)
            except Stopped:
                raise PerfsuiteError("stopped before anything was measured") from None
            except UsageError as error:
                raise UsageError(f"--{side.role} {side.given}: {error}") from error
            except PerfsuiteError as error:
                raise PerfsuiteError(f"--{side.role} {side.given}: {error}") from error
            check_origin(side, result.run.target)
            self.first[side.role] = result
        base, head = self.first["base"], self.first["head"]
        self._check_comparable(base, head)
        self.configuration = {phase.name: self._conditions(base, phase.name) for phase in base.phases}

    def measure(self, pairs: int, progress: Callable[[Step], object]) -> bool:
        """The pairs; whether it was stopped before the last."""
        for pair in range(pairs):
            for side in self._sides if pair % 2 == 0 else reversed(self._sides):
                progress(Step(pair + 1, pairs, side.role))
                try:
                    result = self._run(side)
                except Stopped:
                    return True
                except (RunFailed, UsageError) as error:
                    self._failed(side, str(error))
                    continue
                self.results[side.role].append(result)
                values = {key: one.value for phase in result.phases for key, one in figures(phase).items()}
                self.runs.append(RunReport(side=_role(side), started=result.run.started, values=values))
        return False

    def judgements(self) -> list[Judgement]:
        """Benchmark by benchmark."""
        found = []
        for phase in self.first["base"].phases:
            name = phase.name
            before, after = (list(self._figures(role, name)) for role in ("base", "head"))
            if before and after:
                found.append(judge(name, before, after, against=self._sides[0].name))
        if not found:
            raise PerfsuiteError("no pair of runs was measured: there is nothing to compare")
        return found

    def report(self, side: Side) -> SideReport:
        return SideReport(
            given=side.given,
            kind=side.kind,
            name=side.name,
            target=self.first[side.role].run.target,
            commit=side.commit or self.first[side.role].environment.commit,
            failed=len(self.failures[side.role]),
        )

    def notes(self) -> list[str]:
        """What the reader should know besides."""
        base, head = self._sides
        notes = []
        if base.given == head.given or (base.commit is not None and base.commit == head.commit):
            notes.append("both sides are the same: what is found here is noise")
        for role, texts in self.failures.items():
            if texts:
                notes.append(f"{len(texts)} of the runs of {role} failed: {texts[-1]}")
        for side in self._sides:
            verdicts = {result.verdict for result in self.results[side.role]}
            if "failed" in verdicts:
                notes.append(f"criteria failed in runs of {side.role}: that is no part of this verdict")
        return notes

    def _run(self, side: Side) -> Result:
        return measure(
            [*self._words, *side.words],
            folder=side.folder,
            environment=dict(side.environment),
            timeout_s=self._run_s,
            stopped=self._stopped,
        )

    def _failed(self, side: Side, text: str) -> None:
        self.failures[side.role].append(text)
        self.runs.append(RunReport(side=_role(side), error=text))
        if len(self.failures[side.role]) >= MOST_FAILURES:
            raise PerfsuiteError(f"{len(self.failures[side.role])} runs of --{side.role} {side.given} failed: {text}")

    def _figures(self, role: str, name: str) -> Iterator[RunFigures]:
        for result in self.results[role]:
            for phase in result.phases:
                if phase.name == name and phase.verdict != "interrupted":
                    yield RunFigures(result.run.id, result.run.started, figures(phase))

    def _check_comparable(self, base: Result, head: Result) -> None:
        names = [phase.name for phase in base.phases]
        others = [phase.name for phase in head.phases]
        if names != others:
            raise UsageError(f"base runs {', '.join(names) or 'nothing'}, head {', '.join(others) or 'nothing'}: name "
                             "benchmarks that both have")  # fmt: skip
        for phase in base.phases:
            changed = differing(self._conditions(base, phase.name), self._conditions(head, phase.name))
            if changed:
                raise UsageError(
                    f"base and head would be measured under different configurations: {'; '.join(changed[:4])}; "
                    "say on the command line what both are to use"
                )
            known = {key: one.figure for key, one in figures(phase).items()}
            check_units(known, figures(head.phase(phase.name)), "head")

    @staticmethod
    def _conditions(result: Result, phase: str) -> dict[str, Any]:
        found = conditions(result, phase)
        return {name: value for name, value in found.items() if name not in OF_SIDES}


def enough(report: AbReport) -> bool:
    """Whether each side has runs enough for a verdict."""
    done = [run.side for run in report.runs if run.error is None]
    return min(done.count("base"), done.count("head")) >= FEWEST_RUNS


def dump(report: AbReport) -> bytes:
    """The bytes of ``ab-TS.json``."""
    return msgspec.json.format(msgspec.json.encode(report, enc_hook=str), indent=1) + b"\n"


def _role(side: Side) -> Literal["base", "head"]:
    return "base" if side.role == "base" else "head"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
