"""Runs of one benchmark against the runs that are its baseline: which test says what, and the verdict of all figures.

Three runs and more on both sides are compared (``regression``); one or two new runs against eight and more are held
against what those predict (``forecast``).  A run that was measured as several processes counts as those, where there is
no other.  What is left are few runs against few: by their stretches, with an allowance for what processes differ by
(``alone``).  Runs without stretches say nothing then, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from perfsuite.analysis import forecast
from perfsuite.analysis.alone import RUN_TO_RUN, alone
from perfsuite.analysis.beside import Pair, settle_beside, visible_beside
from perfsuite.analysis.comparable import Figure, Measured
from perfsuite.analysis.forecast import Expectation, Settled, State
from perfsuite.analysis.regression import (
    FEWEST_RUNS,
    LEAST_CHANGE,
    Change,
    Verdict,
    judge_changes,
    overall,
    relevant,
    severity_of,
)


class RunFigures(NamedTuple):
    """The figures of one run of a benchmark, by key."""

    id: str
    started: str
    figures: Mapping[str, Measured]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one benchmark; ``against`` names the baseline, ``notes`` what limits the comparison."""

    benchmark: str
    verdict: Verdict
    against: str
    changes: list[Change] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def gating(self) -> list[Change]:
        """The changes that the verdict rests on."""
        return [change for change in self.changes if change.figure.gates]


def judge(
    benchmark: str,
    before: Sequence[RunFigures],
    after: Sequence[RunFigures],
    *,
    against: str,
    confirming: bool = False,
    beside: Sequence[tuple[RunFigures, RunFigures]] | None = None,
) -> Judgement:
    """``after`` held against ``before``, both oldest first.

    ``confirming``: the first of ``after`` is the run in question, and the rest are fresh runs made because of it.
    ``beside``: fresh runs of the version before and of the one in question, in turns, or none yet: what the fresh runs
    do not dismiss is decided by them.
    """
    same = {run.id for run in before} & {run.id for run in after}
    if same and all(run.id in same for run in after):
        note = "it is the baseline itself: run again for something to compare"
        return Judgement(benchmark=benchmark, verdict="inconclusive", against=against, notes=[note])
    results = len({run.id for run in after})
    left_out = (
        [f"{len(same)} of the {results} results are in the baseline themselves: they are left out"] if same else []
    )
    after = [run for run in after if run.id not in same]
    known = _figures(before, after)
    old = {key: _values(before, key) for key in known}
    new = {key: _values(after, key) for key in known}
    foretold = [key for key in known if confirming or len(new[key]) < FEWEST_RUNS <= forecast.FEWEST <= len(old[key])]
    family = max(1, sum(known[key].gates for key in foretold))
    predicted = {
        key: change
        for key in foretold
        if (change := _against_history(known[key], old[key], new[key], family, _pairs(beside, key))) is not None
    }
    rest = {key: figure for key, figure in known.items() if key not in predicted}
    few = {
        key: test
        for key in rest
        if min(len(old[key]), len(new[key])) < FEWEST_RUNS and (test := alone(_runs(before, key), _runs(after, key)))
    }
    compared = judge_changes(rest, old, new, few=few)
    changes = {change.figure.key: change for change in compared} | predicted
    ordered = [changes[key] for key in known if key in changes]
    return Judgement(
        benchmark=benchmark,
        verdict=overall(ordered),
        against=against,
        changes=ordered,
        notes=[*left_out, *_notes(before, after, compared)],
    )


def _figures(before: Sequence[RunFigures], after: Sequence[RunFigures]) -> dict[str, Figure]:
    """What both sides have, in the order of the newest run."""
    mine = {key for run in before for key in run.figures}
    return {key: one.figure for run in reversed(after) for key, one in run.figures.items() if key in mine}


def _runs(runs: Sequence[RunFigures], key: str) -> list[Measured]:
    return [run.figures[key] for run in runs if key in run.figures]


def _pairs(beside: Sequence[tuple[RunFigures, RunFigures]] | None, key: str) -> list[Pair] | None:
    if beside is None:
        return None
    return [
        Pair(one.figures[key].value, other.figures[key].value)
        for one, other in beside
        if key in one.figures and key in other.figures
    ]


def _values(runs: Sequence[RunFigures], key: str) -> list[float]:
    found = _runs(runs, key)
    if len(found) == 1 and found[0].inside:
        return list(found[0].inside)
    return [one.value for one in found]


def _notes(before: Sequence[RunFigures], after: Sequence[RunFigures], compared: Sequence[Change]) -> list[str]:
    notes = []
    mine = {key for run in before for key in run.figures}
    theirs = {key: one.figure for run in after for key, one in run.figures.items()}
    gone = sorted(mine - set(theirs))
    fresh = sorted(set(theirs) - mine)
    for names, text in ((gone, "not measured any more"), (fresh, "not in the baseline")):
        if names:
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            notes.append(f"{text}: {', '.join(names[:6])}{more}")
    few = [change for change in compared if change.figure.gates and min(change.runs) < FEWEST_RUNS]
    seen = [change.smallest_visible for change in few if change.smallest_visible is not None]
    if seen:
        notes.append(
            f"few runs, judged by their own stretches: processes are taken to differ by {100 * RUN_TO_RUN:.0f} %, so "
            f"that no change below {100 * min(seen):.0f} % could be seen"
        )
    if few and all(change.verdict == "inconclusive" for change in few):
        notes.append(
            f"one run cannot tell a change from noise: give detect {FEWEST_RUNS} results or more of each side "
            f"(10 are better), use a history of {forecast.FEWEST}, or compare both versions with ab"
        )
    return notes


def _against_history(
    figure: Figure, old: Sequence[float], new: Sequence[float], family: int, pairs: Sequence[Pair] | None
) -> Change | None:
    """One run (and the fresh ones that its suspicion led to) against what the runs before it predict."""
    absolute = min(*old, *new) == 0.0 and max(*old, *new) <= 1.0
    if not absolute and min(new) <= 0.0:
        return None
    expectation = forecast.expect(old, absolute=absolute)
    if expectation is None:
        return None
    expected = expectation.expected()
    answer = _answer(figure, expectation, new, family, pairs)
    share = answer.share
    visible = visible_beside(pairs or (), family, absolute=absolute) if answer.beside else None
    return Change(
        figure=figure,
        verdict=answer.verdict,
        before=expected,
        after=expected + share if absolute else expected * (1.0 + share),
        ratio=share if absolute else 1.0 + share,
        smallest_visible=visible or forecast.smallest_visible(expectation, forecast.MOST_FRESH, family),
        severity=severity_of(figure, share) if answer.verdict == "regressed" else None,
        runs=(expectation.runs, len(new)),
        absolute=absolute,
        suspicious=answer.suspicious,
        reason=answer.reason,
    )


class _Answer(NamedTuple):
    verdict: Verdict
    share: float
    reason: str
    suspicious: bool = False
    beside: bool = False


def _beside(figure: Figure, settled: Settled, pairs: int) -> _Answer:
    """What the version before, in turns with the one in question, says of a suspicion."""
    better = 1.0 if figure.better == "lower" else -1.0
    text = f"{pairs} pairs with the version before: z {better * settled.z:+.1f}, {settled.state}"
    verdicts: dict[State, Verdict] = {"confirmed": "regressed", "dismissed": "ok"}
    verdict = verdicts.get(settled.state, "inconclusive")
    return _Answer(verdict, settled.share, text, suspicious=settled.state == "more", beside=True)


def _answer(
    figure: Figure, expectation: Expectation, new: Sequence[float], family: int, pairs: Sequence[Pair] | None
) -> _Answer:
    first, fresh = new[0], new[1:]
    z = forecast.z_of(expectation, [first])
    share = expectation.share_of(first)
    seen = f"z {z:+.1f} of {expectation.runs} runs"
    if figure.better is None or not figure.gates:
        return _Answer("ok", share, f"{seen}; it decides nothing")
    watched = relevant(figure)
    better = 1.0 if figure.better == "lower" else -1.0
    if forecast.suspicious(expectation, first, figure.better, watched):
        if pairs:
            decided = settle_beside(pairs, figure.better, watched, family, absolute=expectation.absolute)
            return _beside(figure, decided, len(pairs))
        settled = forecast.settle(expectation, fresh, figure.better, watched, family)
        if not fresh:
            more = f"suspicious, {seen}: {forecast.FEWEST_FRESH} fresh runs or more decide it"
            return _Answer("inconclusive", share, more, suspicious=True)
        text = f"{len(fresh)} fresh runs: z {better * settled.z:+.1f}, {settled.state}"
        if pairs is not None and settled.state != "dismissed":
            return _Answer("inconclusive", settled.share, text, suspicious=True)
        if settled.state == "confirmed":
            return _Answer("regressed", settled.share, text)
        if settled.state != "dismissed":
            return _Answer("inconclusive", settled.share, text, suspicious=settled.state == "more")
        share, seen = settled.share, text
    if expectation.drifting and (expectation.drift > 0.0) == (figure.better == "lower"):
        drift = f"{expectation.drifted:+.3f}" if expectation.absolute else f"{expectation.drifted:+.1%}"
        return _Answer(
            "drifting", share, f"drifts: {drift} in the last {expectation.runs} runs, and no step among them"
        )
    if better * z < -forecast.CONFIRMATION and abs(share) > LEAST_CHANGE:
        return _Answer("improved", share, seen)
    if forecast.smallest_visible(expectation, forecast.MOST_FRESH, family) > watched:
        return _Answer("inconclusive", share, f"{seen}, which vary too much")
    return _Answer("ok", share, seen)
