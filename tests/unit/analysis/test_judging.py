"""Which test is asked, and what is said where none can answer."""

from __future__ import annotations

from perfsuite.analysis.judging import Judgement, RunFigures, judge
from perfsuite.analysis.regression import Change
from runs_made import runs, series


def test_runs_against_runs() -> None:
    before = runs(series(10, seed=1))
    assert judge("load", before, runs(series(10, seed=2), first=50), against="b").verdict == "ok"
    slower = judge("load", before, runs([1.15 * x for x in series(10, seed=2)], first=50), against="b")
    assert slower.verdict == "regressed"
    assert [change.figure.key for change in slower.gating if change.verdict == "regressed"] == [
        "load.response_time.p50"
    ]


def test_memory_has_its_own_threshold() -> None:
    before, after = series(10, seed=1), series(10, seed=2)
    more = judge("load", runs(before), runs(after, first=50, memory=1.1e8), against="b")
    change = next(change for change in more.gating if change.figure.metric == "memory_usage")
    assert (change.verdict, change.severity) == ("regressed", "notice")
    much = judge("load", runs(before), runs(after, first=50, memory=1.25e8), against="b")
    change = next(change for change in much.gating if change.figure.metric == "memory_usage")
    assert (change.verdict, change.severity) == ("regressed", "warning")


def test_one_against_one_is_inconclusive_and_says_what_to_do() -> None:
    judged = judge("load", runs([100.0]), runs([300.0], first=1), against="b")
    assert judged.verdict == "inconclusive"
    assert any("one run cannot tell" in note for note in judged.notes)


def test_one_against_one_is_judged_by_the_runs_inside() -> None:
    before = runs([100.0], inside=series(10, seed=1))
    after = runs([112.0], first=1, inside=[1.12 * x for x in series(10, seed=2)])
    judged = judge("load", before, after, against="b")
    change = next(change for change in judged.gating if change.figure.key == "load.response_time.p50")
    assert (change.verdict, change.runs) == ("regressed", (10, 10))
    same = judge("load", before, runs([100.0], first=1, inside=series(10, seed=3)), against="b")
    assert next(c for c in same.gating if c.figure.key == "load.response_time.p50").verdict == "ok"


def one_run(number: int, level: float, seed: int) -> list[RunFigures]:
    return runs([level], first=number, stretches=series(10, seed=seed, level=level, spread=0.01))


def of_p50(judged: Judgement) -> Change:
    return next(change for change in judged.gating if change.figure.key == "load.response_time.p50")


def test_stretches_of_one_process_leave_room_for_what_processes_differ_by() -> None:
    """Stretches that vary by 1 % would show 12 % beyond doubt, were they runs: two processes differ by that."""
    before = one_run(0, 100.0, 1)
    judged = judge("load", before, one_run(1, 112.0, 2), against="b")
    assert of_p50(judged).verdict == "inconclusive"
    assert of_p50(judged).runs == (1, 1)
    visible = of_p50(judged).smallest_visible
    assert visible is not None
    assert 0.25 < visible < 0.5
    assert any(f"no change below {100 * visible:.0f} % could be seen" in note for note in judged.notes)
    assert any("give detect 3 results or more" in note for note in judged.notes)
    much = judge("load", before, one_run(1, 160.0, 2), against="b")
    assert (much.verdict, of_p50(much).severity) == ("regressed", "warning")
    assert not any("give detect 3" in note for note in much.notes)
    assert of_p50(judge("load", before, one_run(1, 60.0, 2), against="b")).verdict == "improved"


def test_two_runs_of_a_side_are_known_better_than_one_and_three_by_themselves() -> None:
    def visible(count: int) -> float:
        sides = [[one for n in range(count) for one in one_run(first + n, 100.0, first + n)] for first in (0, 50)]
        found = of_p50(judge("load", *sides, against="b")).smallest_visible
        assert found is not None
        return found

    assert visible(2) < visible(1)
    assert visible(3) < 0.2  # Welch's test of what varies by a hundredth


def test_a_run_without_stretches_says_nothing_beside_one_with() -> None:
    judged = judge("load", one_run(0, 100.0, 1), runs([300.0], first=1), against="b")
    assert (judged.verdict, of_p50(judged).p_value) == ("inconclusive", None)


def test_the_baseline_itself_is_inconclusive() -> None:
    both = runs(series(3, seed=1))
    judged = judge("load", both, both[:1], against="b")
    assert judged.verdict == "inconclusive"
    assert judged.notes == ["it is the baseline itself: run again for something to compare"]


def test_results_that_are_in_the_baseline_are_left_out_and_the_others_judged() -> None:
    """As the document's ``detect benchmark_results/latency_*.json`` gives them: the old ones beside the new."""
    before = runs(series(10, seed=1))
    slow = runs([1.15 * x for x in series(10, seed=2)], first=50)
    judged = judge("load", before, [*before[:4], *slow], against="b")
    assert judged.verdict == "regressed"
    assert judged.notes[0] == "4 of the 14 results are in the baseline themselves: they are left out"
    assert judged.changes == judge("load", before, slow, against="b").changes


def test_one_run_against_a_history_is_suspicious_until_fresh_runs_decide() -> None:
    before = runs(series(30, seed=1))
    assert judge("load", before, runs([100.0], first=50), against="h").verdict == "ok"
    suspect = judge("load", before, runs([113.0], first=50), against="h")
    assert suspect.verdict == "inconclusive"
    assert any(change.suspicious for change in suspect.gating)
    again = runs([113.0, *series(5, seed=2, level=113.0)], first=50)
    confirmed = judge("load", before, again, against="h", confirming=True)
    assert confirmed.verdict == "regressed"
    assert not any(change.suspicious for change in confirmed.gating)
    calm = judge("load", before, runs([113.0, *series(5, seed=3)], first=50), against="h", confirming=True)
    assert calm.verdict == "ok"


def test_a_drift_is_its_own_verdict_and_one_for_the_better_is_none() -> None:
    values = [value * 1.01**i for i, value in enumerate(series(30, seed=4, spread=0.01))]
    judged = judge("load", runs(values), runs([100.0 * 1.01**30], first=50), against="h")
    assert judged.verdict == "drifting"
    falling = [100.0 * 100.0 / value for value in values]
    assert judge("load", runs(falling), runs([100.0 / 1.01**30], first=50), against="h").verdict == "ok"


def test_what_came_and_what_went_is_named() -> None:
    before, after = runs(series(3, seed=1)), runs(series(3, seed=2), first=9)
    for run in after:
        del run.figures["load.memory_usage.max"]  # type: ignore[attr-defined]
    judged = judge("load", before, after, against="b")
    assert "not measured any more: load.memory_usage.max" in judged.notes
