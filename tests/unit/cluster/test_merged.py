"""What several recorders say together is what one of the same requests says."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from perfsuite._core import ERROR_KINDS, Events, Histogram
from perfsuite.cluster.merged import Merged
from perfsuite.cluster.snapshots import METRICS, Snapshot, Taker, packed, unpacked

MS = 1_000_000
START = 50 * MS
QUANTILES = (0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
COUNTED = ("started", "completed", "failed", "good", "warmup", "warmup_failed", "in_flight", "waiting", "chunks")


@dataclass
class Said:
    """A request as it went."""

    due: int
    sent: int
    tokens: list[int]
    end: int
    status: int


def load(seconds: float, number: int, seed: int = 1) -> list[Said]:
    rng = random.Random(seed)
    found = []
    for _ in range(number):
        due = START + int(rng.random() * seconds * 1e9)
        sent = due + rng.randrange(3 * MS)
        at = sent
        tokens = [at := at + rng.randrange(1, 30 * MS) for _ in range(rng.randrange(12))]
        status = 0 if rng.random() < 0.9 else ERROR_KINDS.index("reset")
        found.append(Said(due, sent, tokens, at + rng.randrange(900 * MS), status))
    return sorted(found, key=lambda one: one.due)


def recorder() -> Events:
    return Events(warmup_ns=300 * MS, limit_ms=700.0, objectives={"response_time": 400.0}, start_ns=START)


def record(events: Events, one: Said) -> None:
    row = events.begin(one.due)
    row.sent(one.sent)
    for at in one.tokens:
        row.token(1, at_ns=at)
    row.end(one.status, 7, len(one.tokens), 10, at_ns=one.end)


def told(taker: Taker) -> Snapshot:
    """A snapshot as it comes at the other end."""
    return unpacked(packed(taker.take()), Snapshot)


def dealt(said: list[Said], shards: int, every: int) -> tuple[Events, Merged]:
    """One recorder of all, and the records of several, each told ``every`` so many requests and at the end."""
    whole, merged = recorder(), Merged(warmup_ns=300 * MS)
    takers = [Taker(recorder(), most_windows=100_000) for _ in range(shards)]
    for number, one in enumerate(said):
        record(whole, one)
        record(takers[number % shards].events, one)
        if number % every == 0:
            merged.take(number % shards, told(takers[number % shards]))
    for number, taker in enumerate(takers):
        merged.take(number, told(taker))
    return whole, merged


@pytest.mark.parametrize(("shards", "seconds"), [(1, 6.0), (2, 1.5), (2, 40.0), (5, 6.0)])
def test_merged_is_what_one_process_says_of_the_same_samples(shards: int, seconds: float) -> None:
    whole, merged = dealt(load(seconds, 400), shards, every=37)
    for name in METRICS:
        one, other = whole.histogram(name), merged.histogram(name)
        assert other.to_bytes() == one.to_bytes() or (other == one and other.sum == pytest.approx(one.sum, rel=1e-12))
        if one.count:
            assert other.quantiles(QUANTILES) == one.quantiles(QUANTILES)
        assert merged.block_times(name) == whole.block_times(name)
        assert [block.buckets() for block in merged.blocks(name)] == [block.buckets() for block in whole.blocks(name)]
    for name in COUNTED:
        assert getattr(merged, name) == getattr(whole, name), name
    assert merged.errors == {kind: count for kind, count in whole.errors.items() if count or kind in merged.errors}
    assert merged.longest_wait_ms == whole.longest_wait_ms
    assert merged.tokens_per_chunk == pytest.approx(whole.tokens_per_chunk)
    ours, theirs = merged.windows(), whole.windows()
    assert ours["t_s"] == theirs["t_s"]
    for name in set(theirs) - {"t_s", "in_flight_max", "waiting"}:  # whose shards were advanced at other moments
        assert ours[name] == pytest.approx(theirs[name]), name
    assert {name: column[-3:] for name, column in ours.items()} == merged.windows(3)


def test_other_samples_are_told_apart() -> None:
    """The negative control: one request more shows."""
    said = load(6.0, 300)
    whole, merged = dealt(said, 2, every=50)
    record(whole, said[-1])
    assert merged.histogram("response_time") != whole.histogram("response_time") or merged.started != whole.started


def test_a_message_that_comes_twice_counts_once() -> None:
    taker = Taker(recorder(), most_windows=100)
    record(taker.events, load(2.0, 1)[0])
    merged = Merged(warmup_ns=0)
    once = told(taker)
    for _ in range(3):
        merged.take(0, once)
    merged.take(0, told(taker))
    assert merged.started + merged.warmup == 1
    assert merged.windows()["due"].count(1.0) == 1


def test_slices_of_unlike_length_meet_at_the_longer() -> None:
    """A shard that is lost early told shorter slices than those that went on."""
    whole, merged = recorder(), Merged(warmup_ns=300 * MS)
    early, late = load(2.0, 100, seed=2), load(60.0, 200, seed=3)
    for shard, said in enumerate((early, late)):
        taker = Taker(recorder(), most_windows=100)
        for one in said:
            record(taker.events, one)
            record(whole, one)
        merged.take(shard, told(taker))
    assert merged.block_s == whole.block_s
    name = "response_time"
    assert [block.buckets() for block in merged.blocks(name)] == [block.buckets() for block in whole.blocks(name)]


def test_most_in_flight_is_what_all_shards_held() -> None:
    merged = Merged(warmup_ns=0)
    for shard in range(2):
        taker = Taker(Events(start_ns=START), most_windows=100)
        rows = [taker.events.begin(START) for _ in range(3)]
        for row in rows:
            row.sent(START + 1)
        for row in rows:
            row.end(at_ns=START + 5 * MS)
        merged.take(shard, told(taker))
    assert merged.max_in_flight == 6


def test_slices_are_forgotten_and_the_rest_is_not() -> None:
    _, merged = dealt(load(3.0, 50), 2, every=10)
    merged.forget_blocks()
    assert merged.blocks("response_time") == [] == merged.block_times("response_time")
    assert merged.histogram("response_time").count


def test_nothing_told_reads_as_nothing() -> None:
    merged = Merged(warmup_ns=5)
    assert (merged.warmup_ns, merged.started, merged.max_in_flight, merged.tokens_per_chunk) == (5, 0, 0, None)
    assert merged.histogram("itl") == Histogram(10)
    assert merged.windows()["due"] == []


NOTHING = Snapshot(
    counts={},
    errors={},
    longest_wait_ms=0.0,
    tokens_per_chunk=None,
    warmup_ns=0,
    histograms={},
    block_s=1.0,
    slices={},
    window_s=1.0,
    windows={},
)


@pytest.mark.parametrize("text", ["", "AAAA", "%%%", packed(NOTHING)[:-8]])
def test_what_is_no_message_is_refused(text: str) -> None:
    assert unpacked(packed(NOTHING), Snapshot) == NOTHING
    with pytest.raises(ValueError, match="no message of a shard"):
        unpacked(text, Snapshot)


def test_a_damaged_histogram_changes_nothing() -> None:
    merged = Merged(warmup_ns=0)
    taker = Taker(recorder(), most_windows=100)
    for one in load(2.0, 20):
        record(taker.events, one)
    good = taker.take()
    merged.take(0, good)
    with pytest.raises(ValueError, match="histogram"):
        merged.take(0, replace(good, histograms={"itl": b"nothing"}))
    assert merged.histogram("response_time").count
