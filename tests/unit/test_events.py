"""The recorder of a load, against a model that keeps everything."""

from __future__ import annotations

import gc
import inspect
import random
import struct
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite._core import ERROR_KINDS, EVENT_METRICS, RAW_COLUMNS, Events, Histogram, Row

MS = 1_000_000
SECOND = 1_000_000_000
START = 50 * SECOND

requests = st.lists(
    st.fixed_dictionaries(
        {
            "due": st.integers(-SECOND, 20 * SECOND),
            "late": st.integers(0, 50 * MS),
            "chunks": st.lists(
                st.tuples(st.integers(0, 300 * MS), st.integers(0, 4), st.booleans()), max_size=6
            ),
            "tail": st.integers(0, 100 * MS),
            "status": st.sampled_from(range(len(ERROR_KINDS))) | st.just(0),
            "prompt": st.none() | st.integers(0, 10_000),
            "completion": st.none() | st.integers(0, 10_000),
        }
    ),
    max_size=25,
)  # fmt: skip


def model(plans: list[dict], warmup_ns: int, values: dict[str, list[float]], counts: dict[str, int]) -> None:
    """What should be recorded, said as directly as metrics.md says it."""
    for plan in plans:
        due, sent = START + plan["due"], START + plan["due"] + plan["late"]
        at, stamps = sent, []
        for gap, tokens, visible in plan["chunks"]:
            at += gap
            if tokens:
                stamps.append((at, tokens, visible))
        end = at + plan["tail"]
        if due < START + warmup_ns:
            counts["warmup"] += 1
            continue
        counts["started"] += 1
        kind = ERROR_KINDS[plan["status"]]
        values["itl"] += [(b[0] - a[0]) / MS for a, b in pairwise(stamps)]
        values["lateness"].append((sent - due) / MS)
        if kind != "ok":
            counts["cancelled" if kind == "cancelled" else "failed"] += 1
            continue
        counts["completed"] += 1
        values["response_time"].append((end - due) / MS)
        values["service_time"].append((end - sent) / MS)
        completion = plan["completion"]
        if completion is None and stamps:
            completion = sum(tokens for _, tokens, _ in stamps)
        if stamps:
            values["ttft"].append((stamps[0][0] - due) / MS)
            values["service_ttft"].append((stamps[0][0] - sent) / MS)
        if len(stamps) > 1:
            values["max_gap"].append(max((b[0] - a[0]) / MS for a, b in pairwise(stamps)))
        shown = [stamp for stamp in stamps if stamp[2]]
        if shown and shown[0][0] > stamps[0][0]:
            values["answer_ttft"].append((shown[0][0] - due) / MS)
        visible = completion if len(shown) == len(stamps) else sum(tokens for _, tokens, _ in shown)
        if len(shown) > 1 and visible > 1:
            values["tpot"].append((shown[-1][0] - shown[0][0]) / MS / (visible - 1))
        if completion and end > sent:
            values["output_tokens_per_s"].append(completion / ((end - sent) / SECOND))
        if plan["prompt"] is not None:
            values["prompt_tokens"].append(plan["prompt"])
        if completion is not None:
            values["completion_tokens"].append(completion)


@given(plans=requests, warmup=st.sampled_from([0, SECOND, 5 * SECOND]), blocks=st.sampled_from([2, 8, 64]))
@settings(max_examples=120, deadline=None)
def test_everything_is_recorded_as_the_model_says(plans: list[dict], warmup: int, blocks: int) -> None:
    events = Events(warmup_ns=warmup, blocks=blocks, raw=True, start_ns=START)
    values: dict[str, list[float]] = {name: [] for name in EVENT_METRICS}
    counts = dict.fromkeys(("started", "completed", "failed", "cancelled", "warmup"), 0)
    model(plans, warmup, values, counts)
    for tag, plan in enumerate(plans):
        due = START + plan["due"]
        row = events.begin(due, tag)
        row.sent(due + plan["late"])
        at = due + plan["late"]
        for gap, tokens, visible in plan["chunks"]:
            at += gap
            row.token(tokens, visible=visible, at_ns=at)
        row.end(plan["status"], plan["prompt"], plan["completion"], at_ns=at + plan["tail"])
    assert {name: getattr(events, name) for name in counts} == counts
    for name, expected in values.items():
        histogram = events.histogram(name)
        assert histogram.count == len(expected), name
        if expected:
            assert histogram.sum == pytest.approx(sum(expected), rel=1e-9, abs=1e-9), name
            assert (histogram.min, histogram.max) == pytest.approx((min(expected), max(expected)), rel=1e-9), name
        slices = events.blocks(name)
        assert sum(part.count for part in slices) == len(expected)
        assert len(slices) == len(events.block_times(name)) <= blocks
        assert all(part.count for part in slices)
    windows = events.windows()
    assert len({len(column) for column in windows.values()}) == 1
    assert sum(windows["due"]) == len(plans)
    assert sum(windows["warmup"]) == counts["warmup"]
    assert sum(windows["tokens"]) >= sum(tokens for plan in plans for _, tokens, _ in plan["chunks"])
    size = struct.calcsize("<" + "".join(form for _, form in RAW_COLUMNS))
    assert len(events.drain_rows()) == size * len(plans)
    assert events.drain_rows() == b""
    assert events.in_flight == events.waiting == events.unrecorded == 0


def test_stamps_default_to_now_on_the_clock_of_time_monotonic_ns() -> None:
    before = time.monotonic_ns()
    events = Events(raw=True)
    row = events.begin()
    row.sent()
    row.token()
    row.end()
    after = time.monotonic_ns()
    values = struct.unpack("<" + "".join(form for _, form in RAW_COLUMNS), events.drain_rows())
    record = dict(zip((name for name, _ in RAW_COLUMNS), values, strict=True))
    stamps = [
        before,
        *(events.start_ns + record[f"{name}_ns"] for name in ("due", "sent", "first", "last", "end")),
        after,
    ]
    assert stamps == sorted(stamps)


def test_a_warm_up_can_end_earlier_and_not_later() -> None:
    events = Events(warmup_ns=1000, start_ns=START)
    rows = [events.begin(START + 500)]
    events.warmup_ns = 600
    rows += [events.begin(START + 599), events.begin(START + 600)]
    assert (events.warmup, events.started, events.warmup_ns) == (2, 1, 600)
    with pytest.raises(ValueError, match="cannot grow"):
        events.warmup_ns = 601
    for wrong, error in ((-1, ValueError), (None, TypeError), ("x", TypeError)):
        with pytest.raises(error):
            events.warmup_ns = wrong  # type: ignore[assignment]
    assert events.warmup_ns == 600


def test_a_row_that_is_dropped_was_cancelled() -> None:
    events = Events()
    row = events.begin()
    row.sent()
    assert events.in_flight == 1
    del row
    gc.collect()
    assert events.in_flight == 0
    assert events.errors == {"cancelled": 1}
    assert events.cancelled == 1
    assert events.failed == events.completed == 0


def test_a_row_ends_once_and_outlives_its_events() -> None:
    events = Events()
    row = events.begin()
    assert row.ttft_ms is row.response_time_ms is None
    assert not row.ended
    row.end()
    assert row.ended
    assert row.response_time_ms is not None
    for call in (row.end, row.sent, row.token):
        with pytest.raises(RuntimeError, match="ended"):
            call()
    assert events.completed == 1
    other = events.begin()
    del events
    gc.collect()
    other.token()
    other.end()
    assert other.ttft_ms is not None


def test_objectives_and_goodput() -> None:
    events = Events(objectives={"ttft": 100, "output_tokens_per_s": 20.0}, start_ns=START)
    for first, tokens in ((90, 10), (110, 10), (90, 9)):
        row = events.begin(START)
        row.sent(START)
        row.token(at_ns=START + first * MS)
        row.end(completion_tokens=tokens, at_ns=START + 500 * MS)
    assert (events.completed, events.good) == (3, 1)


def test_what_was_told_and_what_was_counted() -> None:
    events = Events()
    assert events.tokens_per_chunk is None
    for told in (None, 8):
        row = events.begin()
        row.token()
        row.token(3)
        row.end(0, 5, told, 100)
    assert (events.estimated, events.prompt_tokens, events.completion_tokens, events.bytes) == (1, 10, 12, 200)
    assert (events.tokens, events.chunks, events.tokens_per_chunk) == (12, 4, 3.0)


def test_the_start_moves_until_the_first_row() -> None:
    events = Events(warmup_ns=SECOND)
    events.start_ns = START
    assert (events.start_ns, events.warmup_ns) == (START, SECOND)
    events.begin(START + SECOND).end(at_ns=START + SECOND)
    assert (events.warmup, events.completed) == (0, 1)
    with pytest.raises(RuntimeError, match="new Events"):
        events.start_ns = START
    with pytest.raises(TypeError):
        events.start_ns = None  # type: ignore[assignment]


def test_hours_are_folded_into_bounded_columns() -> None:
    events = Events(start_ns=START, blocks=4)
    for hour in range(48):
        events.begin(START + hour * 3600 * SECOND).end(at_ns=START + hour * 3600 * SECOND + MS)
    windows = events.windows()
    assert len(windows["t_s"]) <= 16_384
    assert events.window_s == windows["t_s"][1] == 16.0
    assert sum(windows["due"]) == sum(windows["ok"]) == 48
    assert events.block_s * 4 >= 47 * 3600
    assert sum(part.count for part in events.blocks("response_time")) == 48


def test_the_latest_windows_are_the_end_of_all() -> None:
    events = Events(start_ns=START)
    for second in range(9):
        events.begin(START + second * SECOND).end(at_ns=START + second * SECOND + MS)
    every = events.windows()
    for last in (1, 3, len(every["t_s"]), 10**6):
        assert events.windows(last) == {name: column[-last:] for name, column in every.items()}
    assert events.windows(None) == every
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="last must be 1 or more"):
            events.windows(last=wrong)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"precision": 0}, "precision"),
        ({"precision": 13}, "precision"),
        ({"blocks": 3}, "blocks"),
        ({"blocks": -2}, "blocks"),
        ({"warmup_ns": -1}, "warmup_ns"),
        ({"limit_ms": float("nan")}, "limit_ms"),
        ({"objectives": {"no such": 1.0}}, "no such"),
        ({"objectives": {"ttft": -1.0}}, "ttft"),
        ({"objectives": {"ttft": float("nan")}}, "ttft"),
    ],
)
def test_wrong_configurations_are_named(arguments: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Events(**arguments)


def test_wrong_arguments_are_named_and_change_nothing() -> None:
    events = Events()
    row = events.begin()
    with pytest.raises(ValueError, match="status"):
        row.end(len(ERROR_KINDS))
    with pytest.raises(ValueError, match="prompt_tokens"):
        row.end(0, -2)
    with pytest.raises(ValueError, match="n is the tokens"):
        row.token(-1)
    with pytest.raises(TypeError, match="no argument named 'm'"):
        row.token(m=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="twice"):
        row.token(1, n=1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="at most 1 arg"):
        row.sent(1, 2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        row.sent("now")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at_ns must be a whole number of 64 bits"):
        row.token(at_ns=2**63)

    class Torn:
        def __bool__(self) -> bool:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        row.token(1, visible=Torn())
    assert row.tokens == 0
    assert not row.ended
    row.end()
    for name in ("nonsense", 3, None):
        with pytest.raises(ValueError, match="EVENT_METRICS"):
            events.histogram(name)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Row()


def test_histograms_are_copies() -> None:
    events = Events()
    events.begin().end()
    taken = events.histogram("response_time")
    assert isinstance(taken, Histogram)
    taken.record(1.0)
    assert events.histogram("response_time").count == 1
    assert events.histogram("ttft").count == 0


def test_signatures_can_be_inspected() -> None:
    assert str(inspect.signature(Events)) == (
        "(precision=10, warmup_ns=0, limit_ms=5000.0, objectives=None, blocks=64, raw=False, start_ns=None, "
        "stamps=False)"
    )
    assert str(inspect.signature(Row.token)) == "(self, n=1, visible=True, at_ns=None)".replace("self", "self, /")
    assert str(inspect.signature(Events.begin)) == "(self, /, due_ns=None, tag=0)"


def test_with_stamps_the_time_of_every_chunk_is_kept_until_it_is_drained() -> None:
    events = Events(stamps=True, warmup_ns=10**12)
    one, other = events.begin(tag=7), events.begin(tag=-1)
    one.token(at_ns=100)
    other.token(3, visible=False, at_ns=200)
    one.token(0, at_ns=250)  # no content: no mark
    one.token(at_ns=300)
    assert struct.unpack("=6q", events.drain_stamps()) == (7, 100, -1, 200, 7, 300)
    assert events.drain_stamps() == b""
    one.token(at_ns=400)
    assert struct.unpack("=2q", events.drain_stamps()) == (7, 400)
    assert events.stamps
    unasked = Events()
    unasked.begin().token()
    assert not unasked.stamps
    assert unasked.drain_stamps() == b""


def grown(seconds: int, *, raw: bool = False) -> tuple[Events, int]:
    """A recorder of so many seconds of load, on a clock of its own, and the bytes that it holds."""
    rng = random.Random(seconds)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        events = Events(start_ns=0, raw=raw)
        for second in range(seconds):
            for part in range(2):
                at = second * 10**9 + part * 10**8
                row = events.begin(at)
                row.sent(at + round(rng.lognormvariate(10, 1)))
                for _ in range(8):
                    at += round(2e7 * rng.lognormvariate(0, 0.3))
                    row.token(1, True, at)
                row.end(0, 20, 8, 1000, at)
        return events, tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_an_hour_takes_little_more_than_a_minute() -> None:
    """The seconds are kept, and values that are rarer come to be seen; requests are not."""
    (minute, little), (hour, more) = grown(60), grown(3600)
    assert (minute.completed, hour.completed) == (120, 7200)
    assert more - little < 3 << 20
    rows = grown(3600, raw=True)[1] - grown(60, raw=True)[1] - (more - little)  # the negative control
    assert rows > 7000 * 104


def test_a_load_that_is_over_gives_its_slices_back() -> None:
    tracemalloc.start()
    try:
        nothing, _ = tracemalloc.get_traced_memory()
        events = Events(start_ns=0)
        for second in range(600):
            events.begin(second * 10**9).end(at_ns=second * 10**9 + 10**6 * (1 + second))
        held = tracemalloc.get_traced_memory()[0] - nothing
        told = events.histogram("response_time").to_bytes()
        assert len(events.blocks("response_time")) > 30
        events.forget_blocks()
        left = tracemalloc.get_traced_memory()[0] - nothing
    finally:
        tracemalloc.stop()
    assert held - left > 1 << 18
    assert events.blocks("response_time") == events.block_times("response_time") == []
    assert events.histogram("response_time").to_bytes() == told
    assert events.completed == sum(events.windows()["ok"]) == 600
    events.begin(600 * 10**9).end(at_ns=601 * 10**9)  # what comes later is kept as ever
    assert [block.count for block in events.blocks("response_time")] == [1]
