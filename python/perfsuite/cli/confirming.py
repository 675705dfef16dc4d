"""``perfsuite detect --against-history``: a run against what its history predicts, and fresh runs on suspicion."""

from __future__ import annotations

import contextlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from perfsuite.analysis.judging import Judgement, RunFigures
    from perfsuite.history.baselines import Taken
    from perfsuite.history.store import History
    from perfsuite.result import Result
    from perfsuite.suites.sides import Side


def against_history(
    benchmark: str, runs: Sequence[Taken], history: History, arguments: Namespace, stopped: Callable[[], bool]
) -> Judgement:
    """The oldest of ``runs`` held against the runs before it; the others, and up to ``--rerun`` fresh ones, decide a
    suspicion; what five do not dismiss is decided in turns with the version that ``--base`` names, if it does."""
    import msgspec

    from perfsuite.analysis import forecast
    from perfsuite.analysis.comparable import conditions, host_of, key_of
    from perfsuite.analysis.judging import Judgement, judge
    from perfsuite.history.baselines import check_same, check_units, moment
    from perfsuite.history.store import host_key

    first = runs[0]
    host, asked = host_of(first.result.environment), conditions(first.result, benchmark)
    for other in runs[1:]:
        check_same(host, msgspec.to_builtins(asked, enc_hook=str), other, str(first.path), different_host=False)
    began = moment(first.result.run.started)
    before = history.series(benchmark, host_key(host), key_of(asked), before=began)
    given = {one.result.run.id for one in runs}
    before = [run for run in before if run.id not in given]
    against = f"{len(before)} runs in {history.name}"
    if len(before) < forecast.FEWEST:
        notes = [f"the history has {len(before)} earlier runs of {benchmark} on this host and configuration: from "
                 f"{forecast.FEWEST} on it predicts"]  # fmt: skip
        mine = (benchmark, host_key(host), key_of(asked))
        others = sum(
            one.runs
            for one in history.groups()
            if one.benchmark == benchmark and (one.benchmark, one.host_key, one.configuration_key) != mine
        )
        if others > 0:
            notes.append(f"{others} runs of other hosts or configurations are not compared with")
        return Judgement(benchmark=benchmark, verdict="inconclusive", against=against, notes=notes)
    known = {key: one.figure for run in before for key, one in run.figures.items()}
    for one in runs:
        check_units(known, one.run.figures, str(one.path))
    after = [one.run for one in runs]
    beside: list[tuple[RunFigures, RunFigures]] = []

    def judged() -> Judgement:
        pairs = beside if arguments.base is not None else None
        return judge(benchmark, before, after, against=against, confirming=True, beside=pairs)

    found = judged()
    notes = []
    try:
        with _Again(first, benchmark, history, stopped) as again:
            made, most = 0, arguments.rerun + (forecast.FEWEST_FRESH if arguments.base is not None else 0)
            while any(change.suspicious for change in found.gating) and made < most and not stopped():
                made += 1
                if arguments.base is None or len(after) <= forecast.FEWEST_FRESH:
                    after.append(again.alone(len(after)))
                else:
                    beside.append(again.beside(arguments.base, len(beside) + 1))
                found = judged()
    except CannotRunAgain as error:
        notes.append(str(error))
    if arguments.base is None and (found.verdict == "regressed" or any(one.suspicious for one in found.gating)):
        notes.append(_hint(history, before, first))
    return msgspec.structs.replace(found, notes=[*notes, *found.notes])


def _hint(history: History, before: Sequence[RunFigures], first: Taken) -> str:
    """What tells a change from a bad day, with the commit before where one is known."""
    past = history.run_of(before[-1].id)
    commit = past.commit if past is not None else None
    known = commit is not None and not commit.endswith("+") and commit != first.result.environment.commit
    return (
        "fresh runs share the machine's day with the run in question: with "
        f"--base {commit[:10] if known and commit else 'REF|DIR|URL'} "
        "the version before runs in turns with them, and tells a change from a bad day"
    )


class CannotRunAgain(Exception):
    """The message says why, for the reader of the verdict."""


class _Again(contextlib.AbstractContextManager["_Again"]):
    """Makes more runs of the same, by the command that the history knows."""

    def __init__(self, first: Taken, benchmark: str, history: History, stopped: Callable[[], bool]) -> None:
        self._first = first
        self._benchmark = benchmark
        self._history = history
        self._stopped = stopped
        self._open = contextlib.ExitStack()
        self._sides: tuple[Side, Side] | None = None

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def alone(self, number: int) -> RunFigures:
        """One more run of the version in question."""
        words, folder = self._command()
        self._say(f"fresh run {number}")
        return self._run(words, folder, {}, frozenset())

    def beside(self, base: str, number: int) -> tuple[RunFigures, RunFigures]:
        """One more run of the version before, and one of the version in question."""
        from perfsuite.suites.ab import OF_SIDES

        words, folder = self._command()
        if self._sides is None:
            self._say(f"laying out {base}")
            self._sides = self._laid_out(base, folder)
            # The first run of a fresh worktree also compiles it.
            self._run(
                [*words, *self._sides[0].words], self._sides[0].folder, dict(self._sides[0].environment), OF_SIDES
            )
        self._say(f"pair {number}")
        order = self._sides if number % 2 else self._sides[::-1]
        made = {
            side.role: self._run([*words, *side.words], side.folder, dict(side.environment), OF_SIDES) for side in order
        }
        return made["base"], made["head"]

    def _laid_out(self, base: str, folder: Path) -> tuple[Side, Side]:
        """Both versions, as ``ab`` has them: a revision is one of the repository that the run was made in."""
        import os
        from pathlib import Path

        from perfsuite.scratch import scratch_folder
        from perfsuite.suites.sides import check_origin, laid_out

        target = self._first.result.run.target
        if "://" not in base and "://" in target:
            raise CannotRunAgain(
                f"the target is a running service, {target}: name the URL of the version before as --base"
            )
        if Path(base).is_dir():
            base = str(Path(base).absolute())
        scratch = self._open.enter_context(scratch_folder("base"))
        with self._explained("base"), contextlib.chdir(folder):
            one = self._open.enter_context(_in_folder(folder, laid_out(base, "base", scratch)))
            other = self._open.enter_context(laid_out(os.fspath(folder), "head", scratch))
            if "://" not in target:
                check_origin(one, target)
                check_origin(other, target)
            else:
                other = other._replace(environment=())
        return one, other

    def _command(self) -> tuple[list[str], Path]:
        from pathlib import Path

        from perfsuite.settings import WRITING

        past = self._history.run_of(self._first.result.run.id)
        if past is None or not past.folder:
            raise CannotRunAgain("it cannot be run again: the history does not know the command that made it")
        words = [word for word in past.command if not word.startswith(tuple(f"{option.flag}=" for option in WRITING))]
        return words, Path(past.folder)

    def _run(
        self, words: Sequence[str], folder: Path, environment: dict[str, str], may_differ: frozenset[str]
    ) -> RunFigures:
        from perfsuite.analysis.comparable import conditions, differing, figures
        from perfsuite.analysis.judging import RunFigures
        from perfsuite.suites.fresh import measure

        with self._explained("a fresh run"):
            result: Result = measure(words, folder=folder, environment=environment, stopped=self._stopped)
            phase = result.phase(self._benchmark)
        sides = [
            {name: value for name, value in conditions(one, self._benchmark).items() if name not in may_differ}
            for one in (self._first.result, result)
        ]
        changed = differing(*sides)
        if changed:
            raise CannotRunAgain(f"a fresh run has another configuration by now: {'; '.join(changed[:4])}")
        return RunFigures(result.run.id, result.run.started, figures(phase))

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        from perfsuite.errors import PerfsuiteError
        from perfsuite.suites.fresh import Stopped

        try:
            yield
        except Stopped:
            raise CannotRunAgain("interrupted before the fresh runs decided it") from None
        except (PerfsuiteError, OSError, KeyError) as error:
            raise CannotRunAgain(f"{what} failed: {error}") from error

    def _say(self, text: str) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            print(f"perfsuite: {self._benchmark} is suspicious: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _in_folder(folder: Path, side: contextlib.AbstractContextManager[Side]) -> Iterator[Side]:
    """A side whose worktree is taken away from within its repository, too."""
    stack = contextlib.ExitStack()
    found = stack.enter_context(side)
    try:
        yield found
    finally:
        with contextlib.chdir(folder):
            stack.close()
