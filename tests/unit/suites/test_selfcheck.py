"""The comparison of a self check, on answers made by hand; and what is within limits."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import pytest

from checks_made import a_check
from perfsuite._core import Events
from perfsuite.collectors import shortage
from perfsuite.collectors.shortage import CpuWatch
from perfsuite.errors import PerfsuiteError
from perfsuite.suites.selfcheck.against_truth import Said, compare, deviation, joined, rate_error, said
from perfsuite.suites.selfcheck.checking import Condition, Limits, beyond, conditions
from perfsuite.suites.selfcheck.served import Told

MS = 1_000_000


def told(*offsets_ms: float, received_ms: float = 0.0, complete: bool = True, kernel: bool = True) -> Told:
    return Told(round(received_ms * MS), [round(one * MS) for one in offsets_ms], complete, kernel)


def heard(*chunks_ms: float, sent_ms: float = 0.0, end_ms: float = 100.0, measured: bool = True) -> Said:
    sent = round(sent_ms * MS)
    return Said(sent, sent, round(end_ms * MS), measured, [round(one * MS) for one in chunks_ms])


def test_errors_are_of_each_request_and_each_gap() -> None:
    truth = [told(20, 40, 60, received_ms=1), told(20, 40, 60, received_ms=501)]
    client = [heard(22, 42, 72, sent_ms=1, end_ms=74), heard(521, 541, 561, sent_ms=501, end_ms=562)]
    found = compare(list(zip(client, truth, strict=True)), [(client[1], truth[1])])
    assert found.requests == 3
    assert (found.ttft.count, found.ttft.max) == (3, pytest.approx(1.0))
    assert found.ttft.mean == pytest.approx(1 / 3)
    assert found.itl is not None
    assert (found.itl.count, found.itl.p50, found.itl.max) == (6, pytest.approx(0.0), pytest.approx(10.0))
    assert found.itl.shift_p99 == pytest.approx(10.0)
    assert found.end.max == pytest.approx(13.0)
    assert (found.coalesced, found.late, found.truth_kernel) == (0.0, 0.0, 1.0)


def test_errors_that_cancel_out_in_the_quantiles_are_seen_all_the_same() -> None:
    truth = [10.0, 20.0] * 50
    found = deviation(truth[1:] + truth[:1], truth)
    assert (found.shift_p50, found.shift_p99, found.mean) == (0.0, 0.0, 0.0)
    assert (found.p50, found.p99) == (10.0, 10.0)


def test_chunks_that_left_apart_and_share_a_stamp_are_counted() -> None:
    truth = told(20, 40, 60, 60, kernel=False)
    found = compare([(heard(20, 60, 60, 60), truth)], [(heard(20, 40, 60, 60), truth)])
    assert found.coalesced == pytest.approx(1 / 6), "the last two left together"
    assert found.truth_kernel == 0.0


def test_a_client_that_sends_faster_than_it_says_is_found() -> None:
    assert rate_error([0, 10, 20], [0, 10, 20]) == 0.0
    assert rate_error([0, 10, 20], [5, 20, 45]) == pytest.approx(1.0), "it says twice the truth"
    assert rate_error([7], [9]) == 0.0


@pytest.mark.parametrize(
    "truth",
    [{}, {0: told(20, 40, complete=False)}, {0: told(20, 40, 60)}, {0: told(20)}, {1: told(20, 40)}],
    ids=["none", "cut", "lost one", "made one up", "another's"],
)
def test_answers_of_which_the_server_knows_otherwise_end_the_check(truth: dict[int, Told]) -> None:
    assert joined({0: heard(20, 40)}, {0: told(20, 40)})
    with pytest.raises(PerfsuiteError, match="do not agree on 1 of 1"):
        joined({0: heard(20, 40)}, truth)


def test_a_check_without_a_measured_answer_says_so() -> None:
    with pytest.raises(PerfsuiteError, match="--duration"):
        joined({0: heard(20, measured=False)}, {0: told(20)})


def test_what_the_recorder_has_is_read_back() -> None:
    events = Events(warmup_ns=1000, raw=True, stamps=True)
    start = events.start_ns
    for tag, due in enumerate((start, start + 2000)):
        row = events.begin(due, tag)
        row.sent(due + 5)
        row.token(at_ns=due + 10)
        row.token(at_ns=due + 30)
        row.end(at_ns=due + 40)
    given_up = events.begin(start + 3000, 2)
    given_up.end(15)
    assert said(events) == {
        0: Said(start, start + 5, start + 40, False, [start + 10, start + 30]),
        1: Said(start + 2000, start + 2005, start + 2040, True, [start + 2010, start + 2030]),
    }
    failed = events.begin(start + 4000, 3)
    failed.end(5)
    with pytest.raises(PerfsuiteError, match="reset"):
        said(events)


def test_limits_name_what_is_beyond_them() -> None:
    check = a_check()
    assert beyond(check, Limits()) == []
    off = msgspec.structs.replace(check.ttft, p99=30.0)
    assert beyond(msgspec.structs.replace(check, ttft=off), Limits()) == ["ttft p99 off by 30 ms, more than 20"]
    assert len(beyond(msgspec.structs.replace(check, itl=msgspec.structs.replace(off, mean=-2.0)), Limits())) == 2
    slow = msgspec.structs.replace(check, itl=None, rate=-0.03)
    assert beyond(slow, Limits()) == ["rate off by -3.00%, more than 2.00%"]
    nan = msgspec.structs.replace(check.ttft, p50=float("nan"), mean=float("nan"))
    short = msgspec.structs.replace(check, asked=check.load.streams + 1)
    assert beyond(short, Limits()) == [f"held {check.load.streams} of {check.load.streams + 1} streams"]
    assert beyond(msgspec.structs.replace(check, asked=check.load.streams), Limits()) == []
    assert beyond(msgspec.structs.replace(check, ttft=nan), Limits()), "what is no number is not within a limit"


def test_every_combination_is_checked_and_few_streams_are_quick_ones() -> None:
    asked = conditions({"http": "wire", "https": "asyncio"}, (1, 128), (1, 4))
    assert len(asked) == 8
    assert {(one.engine, one.scheme) for one in asked} == {("wire", "http"), ("asyncio", "https")}
    assert [Condition(engine="wire", scheme="http", streams=n, tokens_per_chunk=1).pace_ms for n in (1, 64, 512)] == [
        5.0,
        10.0,
        20.0,
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="what is counted is Linux's")
def test_waiting_for_a_processor_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tmp_path / "task" / "17"
    task.mkdir(parents=True)
    (task / "schedstat").write_text("5 1000000000 7\n")
    (tmp_path / "stat").write_text("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1\n")
    monkeypatch.setattr(shortage, "TASKS", tmp_path / "task")
    monkeypatch.setattr(shortage, "STAT", tmp_path / "stat")
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = CpuWatch()
    now[0] = 102.0
    (task / "schedstat").write_text("5 2000000000 7\n")
    (tmp_path / "stat").write_text("cpu  60 0 10 80 0 0 0 50 0 0\n")
    seen = watch.seen()
    assert seen.waited == pytest.approx(0.5)
    assert seen.stolen == pytest.approx(0.5)
    (tmp_path / "stat").unlink()
    (task / "schedstat").unlink()
    assert (watch.seen().waited, watch.seen().stolen) == (None, None)
