"""What makes a second good, and what evidence a driven stretch gives."""

from __future__ import annotations

import math
import time

import pytest

from perfsuite._core import ERROR_KINDS, Events
from perfsuite.evidence import Estimate, Exact, NotMeasured, Samples, Share
from perfsuite.loadgen import Delivered, LoadSpec
from perfsuite.metric import catalogue, streamed
from perfsuite.suites.probes import PROBES, covering, probe
from perfsuite.suites.session import Stretch
from perfsuite.suites.streaming import good_windows, stalls, streaming_evidence

SECOND = 1_000_000_000
TIMEOUT = ERROR_KINDS.index("timeout")


def stretch(
    rows: list[tuple[float, float, int]], objectives: dict[str, float] | None = None, warmup_s: float = 0.0
) -> Stretch:
    """Requests as (due in s, seconds it took, status)."""
    base = time.monotonic_ns() + 3600 * SECOND  # ahead of the clock, which only begin() looks at
    warmup_ns = round(warmup_s * SECOND)
    events = Events(start_ns=base, warmup_ns=warmup_ns, limit_ms=5000.0, objectives=objectives or {})
    for due, took, status in sorted(rows):
        start = base + round(due * SECOND)
        row = events.begin(start)
        row.sent(start)
        if not status:
            row.token(1, True, start + round(took * SECOND / 2))
            row.token(1, True, start + round(took * SECOND))
        row.end(status, 5, 2, 10, start + round(took * SECOND))
    return Stretch("s", LoadSpec(duration_s=4.0, concurrency=1), events, objectives or {})


def good(rows: list[tuple[float, float, int]]) -> tuple[float, float]:
    found = good_windows([stretch(rows)])
    assert isinstance(found, Share)
    return found.hits, found.trials


def test_steady_answers_make_good_seconds() -> None:
    assert good([(0.1 * i, 0.05, 0) for i in range(40)]) == (4, 4)


def test_one_failure_a_second_is_borne_two_are_not() -> None:
    steady = [(0.1 * i, 0.05, 0) for i in range(40)]
    assert good([*steady, (1.25, 0.01, TIMEOUT)]) == (4, 4)
    assert good([*steady, (1.25, 0.01, TIMEOUT), (1.35, 0.01, TIMEOUT)]) == (3, 4)


def test_a_slow_answer_makes_its_second_bad() -> None:
    hits, trials = good([*[(0.1 * i, 0.05, 0) for i in range(80)], (0.5, 5.5, 0)])
    assert (hits, trials) == (7, 8)


def test_a_frozen_second_is_bad_though_nothing_fell_due_in_it() -> None:
    hits, trials = good([(0.1, 0.05, 0), (0.5, 2.9, 0), (3.5, 0.05, 0)])
    assert trials == 4
    assert hits == 2  # the first and the last; in the two between, something waited and nothing finished


def test_nothing_asked_is_no_trial() -> None:
    found = good_windows([stretch([])])
    assert isinstance(found, NotMeasured)


def test_streaming_evidence_has_every_name() -> None:
    rows = [(0.1 * i, 0.05, 0) for i in range(20)]
    found = streaming_evidence(stretch([*rows, (0.33, 1.0, TIMEOUT)], {"response_time": 60.0}))
    assert set(found) == set(streamed())
    answers = found["response_time"]
    assert isinstance(answers, Samples)
    assert (answers.histogram.count, answers.failed) == (20, 1)
    assert answers.longest_wait == pytest.approx(1000.0)
    errors = found["error_rate"]
    assert isinstance(errors, Share)
    assert (errors.hits, errors.trials) == (1, 21)
    goodput = found["goodput"]
    assert isinstance(goodput, Estimate)
    assert goodput.value == pytest.approx(20 / 4.0)
    assert goodput.low < goodput.value < goodput.high


def paced(by_second: list[int], delivered_s: float, *, warmup_s: float = 0.0) -> Estimate:
    """goodput of a load with so many answers in each of its seconds, of which every third is too slow."""
    rows = [(s + k / of, 0.05 if k % 3 else 0.2, 0) for s, of in enumerate(by_second) for k in range(of)]
    one = stretch(rows, {"response_time": 60.0}, warmup_s=warmup_s)
    one.delivered = Delivered(
        max_in_flight=1, rate=1.0, requests=len(rows), completed=len(rows), failed=0, duration_s=delivered_s,
        sent=len(rows), tokens=0, warmup=0,
    )  # fmt: skip
    found = streaming_evidence(one)["goodput"]
    assert isinstance(found, Estimate)
    return found


def test_goodput_is_told_by_the_second_in_which_an_answer_was_due() -> None:
    found = paced([6, 12, 3], 3.0)
    assert list(found.series) == [(0.0, 4.0), (1.0, 8.0), (2.0, 2.0)]
    assert found.value == pytest.approx(14 / 3)
    assert found.samples == 14


def test_a_second_that_is_measured_in_part_has_the_rate_of_that_part() -> None:
    found = paced([12, 12, 12], 2.0, warmup_s=0.5)
    assert list(found.series) == [(0.5, 8.0), (1.0, 8.0), (2.0, pytest.approx(16.0))], "the load ended at 2.5 s"
    assert found.value == pytest.approx((4 + 8 + 8) / 2.0)
    assert [t_s for t_s, _ in paced([12, 12, 12], 1.6, warmup_s=0.5).series] == [0.5, 1.0], "a tenth is left out"


def test_goodput_is_known_by_what_its_seconds_differ_by_and_a_frozen_one_has_none() -> None:
    steady, frozen = paced([60] * 12, 12.0), paced([60] * 8, 12.0)
    assert steady.value == 40.0
    assert steady.high - steady.low < 1e-6, "no second differs from another: a Poisson count would"
    assert list(frozen.series)[7:] == [(7.0, 40.0), (8.0, 0.0), (9.0, 0.0), (10.0, 0.0), (11.0, 0.0)]
    assert frozen.low < frozen.value < frozen.high
    assert frozen.high - frozen.low > 10.0
    short = paced([60] * 3, 3.0)
    assert short.high - short.low == pytest.approx(2 * 1.96 * math.sqrt(120) / 3.0)


def test_tokens_to_a_chunk_and_stalls_have_their_seconds() -> None:
    base = time.monotonic_ns() + 3600 * SECOND
    events = Events(start_ns=base)
    for second, tokens, gap_s in ((0, 1, 0.01), (1, 4, 0.5), (3, 2, 0.01)):
        row = events.begin(base + second * SECOND)
        row.sent(base + second * SECOND)
        for number in range(4):
            row.token(tokens, True, base + second * SECOND + round(number * gap_s * SECOND))
        row.end(0, 5, 4 * tokens, 10, base + second * SECOND + 2 * SECOND)
    found = streaming_evidence(Stretch("s", LoadSpec(duration_s=4.0, concurrency=1), events, {}))
    chunks, stalled = found["tokens_per_chunk"], found["stalls"]
    assert isinstance(chunks, Exact)
    assert isinstance(stalled, Exact)
    assert list(chunks.series) == [(0.0, 1.0), (1.0, 4.0), (3.0, 2.0)]
    assert stalled.value == 3.0 == sum(number for _, number in stalled.series)
    assert [t_s for t_s, number in stalled.series if number] == [1.0], "by when the response was due"


def test_an_empty_stretch_is_not_measured() -> None:
    assert all(isinstance(one, NotMeasured) for one in streaming_evidence(stretch([])).values())


def test_every_metric_of_the_catalogue_has_one_who_shows_it() -> None:
    shown = {name for one in PROBES.values() for name in one.provides}
    shown |= {name for name, row in catalogue().items() if row.sampled}
    assert set(catalogue()) == shown
    assert [one.name for one in covering(["ttft", "memory_savings", "window_optimization"])] == [
        "conversation", "savings", "window",
    ]  # fmt: skip
    assert "ttft" in probe("load").provides
    assert "ttft" not in probe("window").provides


def stalled(gaps_ms: list[float]) -> tuple[float, float]:
    """(stalls, the limit) of one response with these gaps."""
    base = time.monotonic_ns() + 3600 * SECOND
    events = Events(start_ns=base)
    row = events.begin(base)
    row.sent(base)
    at = base
    for gap in [1.0, *gaps_ms]:
        at += round(gap * 1e6)
        row.token(1, True, at)
    row.end(0, 5, len(gaps_ms) + 1, 10, at)
    found = stalls(Stretch("s", LoadSpec(duration_s=4.0, concurrency=1), events, {}))
    assert isinstance(found, Exact)
    assert found.samples == len(gaps_ms)
    return found.value, found.details["longer_than_ms"]  # type: ignore[return-value]


def test_a_stall_is_long_and_much_longer_than_the_stream_usually_takes() -> None:
    assert stalled([10.0] * 30 + [200.0, 130.0]) == (2.0, 100.0)
    assert stalled([5.0] * 30 + [90.0]) == (0.0, 100.0), "long for this stream, and nobody waits for it"
    stalls_seen, limit = stalled([150.0] * 30 + [600.0, 900.0])
    assert stalls_seen == 1.0, "a slow stream is no stalled one"
    assert limit == pytest.approx(750.0, rel=0.01)


def test_nothing_stalls_that_does_not_stream() -> None:
    assert isinstance(stalls(stretch([])), NotMeasured)
