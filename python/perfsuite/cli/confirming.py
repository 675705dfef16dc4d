"""``perfsuite detect --against-history``: a run against what its history predicts, and fresh runs on suspicion."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from perfsuite.analysis.judging import Judgement, RunFigures
    from perfsuite.history.baselines import Taken
    from perfsuite.history.store import History
    from perfsuite.result import Result

ONCE = ("--output", "--json", "--junitxml", "--raw", "--live")
"""Flags of the run that are not for the runs that are made again: they write where it wrote."""


def against_history(
    benchmark: str, runs: Sequence[Taken], history: History, arguments: Namespace, stopped: Callable[[], bool]
) -> Judgement:
    """The oldest of ``runs`` held against the runs before it; the others, and up to ``--rerun`` fresh ones, decide a
    suspicion."""
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
    judged = judge(benchmark, before, after, against=against, confirming=True)
    notes = []
    while any(change.suspicious for change in judged.gating) and len(after) <= arguments.rerun and not stopped():
        try:
            after.append(_again(first, benchmark, history, len(after), stopped))
        except _CannotRunAgain as error:
            notes.append(str(error))
            break
        judged = judge(benchmark, before, after, against=against, confirming=True)
    return msgspec.structs.replace(judged, notes=[*notes, *judged.notes])


class _CannotRunAgain(Exception):
    pass


def _again(first: Taken, benchmark: str, history: History, number: int, stopped: Callable[[], bool]) -> RunFigures:
    """One more run of the same, by the command that the history knows."""
    from pathlib import Path

    from perfsuite.analysis.comparable import conditions, differing, figures
    from perfsuite.analysis.judging import RunFigures
    from perfsuite.errors import PerfsuiteError
    from perfsuite.suites.fresh import Stopped, measure

    past = history.run_of(first.result.run.id)
    if past is None or not past.folder:
        raise _CannotRunAgain("it cannot be run again: the history does not know the command that made it")
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"perfsuite: {benchmark} is suspicious: fresh run {number}", file=sys.stderr, flush=True)
    words = [word for word in past.command if not word.startswith(tuple(f"{flag}=" for flag in ONCE))]
    try:
        result: Result = measure(words, folder=Path(past.folder), stopped=stopped)
        phase = result.phase(benchmark)
    except Stopped:
        raise _CannotRunAgain("interrupted before the fresh runs decided it") from None
    except (PerfsuiteError, OSError, KeyError) as error:
        raise _CannotRunAgain(f"a fresh run failed: {error}") from error
    changed = differing(conditions(first.result, benchmark), conditions(result, benchmark))
    if changed:
        raise _CannotRunAgain(f"a fresh run has another configuration by now: {'; '.join(changed[:4])}")
    return RunFigures(result.run.id, result.run.started, figures(phase))
