"""Does a load over the wire measure the truth?  Driven at ``serve``, a process of its own that knows when each request
came and each token left, by the kernel's stamps; with the same load measured the wrong way beside it."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count, groupby, pairwise
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.evidence import Exact
from perfsuite.loadgen import Delivered, LoadSpec, drive, driver, engines
from perfsuite.loadgen.raw import COLUMNS, rows
from perfsuite.loadgen.wire_counts import HELD
from perfsuite.suites.selfcheck.against_truth import Pair, deviation, joined, said
from perfsuite.suites.selfcheck.served import Served, model_of, serving
from perfsuite.suites.session import Stretch
from perfsuite.suites.streaming import stalls
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")

TOKENS = 12
PACE_MS = 4.0
FIRST_MS = 20.0
BLOCKED_S = 0.04
FAULT = "X-Perfsuite-Fault"
STOPPED_S, RUNNING_S = 0.03, 0.02
"""Shorter than from one token to the next: two that came meanwhile would be read as one."""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(paces_ms=[PACE_MS], tokens=TOKENS, tokens_per_chunk=1, tls=False, longest_s=120.0) as server:
        yield server


def requests(fault: str = "", model: str | None = None) -> Iterator[Request]:
    """Each with its number as its id, as its row's tag is."""
    faults = ((FAULT, fault),) if fault else ()
    for i in count():
        headers = (("X-Request-Id", str(i)), *faults)
        messages = [{"role": "user", "content": f"message {i}"}]
        yield Request(
            message=f"message {i}", messages=messages, user_id="u", conversation_id="c", model=model, headers=headers
        )


def target_of(*servers: Served, dialect: str = "openai") -> ChatTarget:
    addresses = [parse_address(server.url, "a test") for server in servers]
    models = {f"{model_of(PACE_MS)}": addresses[0]}
    models |= {model_of(PACE_MS + number): at for number, at in enumerate(addresses) if number}
    return ChatTarget(dialect, addresses[0], None, models)


def run(
    served: Served,
    spec: LoadSpec,
    *,
    by: Any = drive,
    source: Iterator[Request] | None = None,
    stop_after_s: float | None = None,
    target: ChatTarget | None = None,
    **more: Any,
) -> tuple[Delivered, Events]:
    async def go() -> tuple[Delivered, Events]:
        chat = target or target_of(served)
        await chat.open()
        await chat.ready()  # now, so that the truth is of the load alone
        await asyncio.to_thread(served.forget)
        events = Events(warmup_ns=round(spec.warmup_s * 1e9), raw=True, stamps=True)
        stop = asyncio.Event()
        if stop_after_s is not None:
            asyncio.get_running_loop().call_later(stop_after_s, stop.set)
        try:
            return await by(chat, source or requests(), spec, events, stop=stop, **more), events
        finally:
            await chat.close()

    return asyncio.run(asyncio.wait_for(go(), 60))


def errors_ms(pairs: list[Pair]) -> tuple[float, float]:
    """The size of the client's errors in times to first token and in gaps: the greater median, the greater p99."""
    ttft = deviation(
        [(one.chunks_ns[0] - one.sent_ns) / 1e6 for one, _ in pairs], [told.offsets_ns[0] / 1e6 for _, told in pairs]
    )
    itl = deviation(
        [(b - a) / 1e6 for one, _ in pairs for a, b in pairwise(one.chunks_ns)],
        [(b - a) / 1e6 for _, told in pairs for a, b in pairwise(told.offsets_ns)],
    )
    return max(ttft.p50, itl.p50), max(ttft.p99, itl.p99)


def blocking() -> Callable[..., None]:
    """A probe that keeps the event loop busy after each reply: a client that has no time."""
    return lambda *_: time.sleep(BLOCKED_S)


@pytest.mark.parametrize(
    "spec",
    [LoadSpec(duration_s=1.0, concurrency=8), LoadSpec(duration_s=1.0, rate=30.0, seed=1)],
    ids=["closed", "open"],
)
def test_a_busy_client_does_not_show_in_what_it_measures(served: Served, spec: LoadSpec) -> None:
    """Every request's first token and every gap, against the server's truth, while the event loop is blocked again and
    again; the asyncio driver, blocked likewise, is the negative control."""
    delivered, events = run(served, spec, on_reply=blocking())
    pairs = joined(said(events), served.truth())
    assert delivered.completed == len(pairs) > 10
    assert delivered.wire["kernel_reads"] >= 0.99 * delivered.wire["reads"]
    usual, worst = errors_ms(pairs)
    assert usual < 1.0
    delivered, events = run(served, spec, by=driver.drive, on_reply=blocking())
    pairs = joined(said(events), served.truth())
    assert errors_ms(pairs)[1] > max(10.0, worst)
    assert delivered.wire == {}


def test_a_closed_loop_holds_its_number(served: Served) -> None:
    """By the truth: what was in flight at the server on average.  A client that pauses is the negative control."""

    def held(spec: LoadSpec) -> tuple[float, Delivered]:
        delivered, _ = run(served, spec)
        told = served.truth().values()
        span = max(one.received_ns + one.offsets_ns[-1] for one in told) - min(one.received_ns for one in told)
        return sum(one.offsets_ns[-1] for one in told) / span, delivered

    busy, delivered = held(LoadSpec(duration_s=1.0, concurrency=16))
    assert delivered.max_in_flight == 16
    assert delivered.wire["starved"] <= 1
    held_on_average = delivered.mean_in_flight
    assert held_on_average is not None
    # As the server saw it, less the end of an answer and of the run; a client that a busy machine holds up says so.
    assert held_on_average - 2.5 < busy < held_on_average + 0.5
    assert (held_on_average < HELD * 16) == any("in flight on average" in text for text in delivered.warnings)
    idle, delivered = held(LoadSpec(duration_s=1.0, concurrency=16, think_s=0.1))
    assert idle < 10.0


def test_a_client_that_writes_slowly_says_so_and_blames_nobody_else(served: Served) -> None:
    """Each request takes 60 ms to make: 8 slots cannot be kept busy, and the service's times are as they were."""

    def slowly() -> Iterator[Request]:
        for request in requests():
            time.sleep(0.06)
            yield request

    delivered, events = run(served, LoadSpec(duration_s=1.5, concurrency=8, warmup_s=0.2), source=slowly())
    assert delivered.mean_in_flight is not None
    assert delivered.mean_in_flight < 4.0
    assert delivered.wire["starved"] > 5
    assert any("in flight on average" in text for text in delivered.warnings)
    service, response = events.histogram("service_time"), events.histogram("response_time")
    assert response.quantile(0.5) == pytest.approx(service.quantile(0.5), rel=0.1)
    delivered, events = run(served, LoadSpec(duration_s=1.5, rate=40.0, arrivals="constant"), source=slowly())
    assert delivered.short is not None
    assert "the client was short of time" in delivered.short


def test_an_open_loop_is_on_time_by_the_truth(served: Served) -> None:
    delivered, events = run(served, LoadSpec(duration_s=1.5, rate=80.0, arrivals="constant"))
    pairs = joined(said(events), served.truth())
    assert len(pairs) == delivered.requests == 120
    came = [(told.received_ns - one.due_ns) / 1e6 for one, told in pairs]
    assert min(came) >= 0.0, "nothing is sent before it is due"
    left = deviation(came, [(one.sent_ns - one.due_ns) / 1e6 for one, _ in pairs])
    assert left.p50 < 1.0  # what the client says it was late is what it was late
    assert delivered.short is None


def test_a_capped_open_loop_keeps_its_cap_and_the_users_wait(served: Served) -> None:
    """60 requests/s of 64 ms each at 2 at a time, which is 31/s: the rest waits, and that is in the response times."""
    delivered, events = run(served, LoadSpec(duration_s=1.0, rate=60.0, arrivals="constant", concurrency=2))
    assert delivered.max_in_flight == 2
    assert events.histogram("response_time").max > 5 * events.histogram("service_time").quantile(0.5)
    assert delivered.short is not None
    assert events.completed == 60


def test_ten_a_second_against_one_slot_of_half_a_second(served: Served) -> None:
    """Half of 15 requests due within 1.5 s have waited for seven others: the median is the eighth, due after 0.7 s and
    answered after 8 × 0.5 s, about 3.3 s.  Measured from the send, the same run says 0.5 s."""
    spec = LoadSpec(duration_s=1.5, rate=10.0, arrivals="constant", concurrency=1, request_timeout_s=20.0)
    first = f"stall={500 - FIRST_MS - (TOKENS - 1) * PACE_MS:.0f}@0"
    delivered, events = run(served, spec, source=requests(first))
    assert delivered.completed == 15
    told = served.truth()
    assert min(one.offsets_ns[-1] for one in told.values()) >= 499e6
    median = events.histogram("response_time").quantile(0.5)
    assert median >= 8 * 499.0 - 700.0
    waited = sorted(
        (sent.received_ns + sent.offsets_ns[-1] - one.due_ns) / 1e6 for one, sent in joined(said(events), told)
    )
    assert median == pytest.approx(waited[7], rel=0.002)
    assert events.histogram("service_time").quantile(0.5) < median / 3
    assert delivered.short is not None, "ten a second is not what was sent"


def test_a_stall_in_mid_stream_is_told_to_the_millisecond(served: Served) -> None:
    """A stall of 200 ms after the sixth token of each answer, by the server's own word; without it there is none."""
    spec = LoadSpec(duration_s=20.0, concurrency=4, max_requests=24)
    delivered, events = run(served, spec, source=requests("stall=200@6"))
    assert delivered.completed == 24
    truth = served.truth().values()
    # By the schedule: a gap is shorter by as much as the token before it was late.
    assert min(one.offsets_ns[6] for one in truth) >= (FIRST_MS + 6 * PACE_MS + 200.0) * 1e6 - 500e3
    told = [[(b - a) / 1e6 for a, b in pairwise(one.offsets_ns)] for one in truth]
    longest = [max(gaps) for gaps in told]
    for name, truth in (("max_gap", longest), ("itl", [gap for gaps in told for gap in gaps])):
        p99 = sorted(truth)[math.ceil(0.99 * len(truth)) - 1]
        assert abs(events.histogram(name).quantile(0.99) - p99) < 5.0  # on a machine as busy as it likes
    assert abs(events.histogram("max_gap").quantile(0.5) - statistics.median_low(longest)) < 1.0
    assert stalls_in(spec, events) == 24
    calm, events = run(served, spec)
    assert calm.completed == 24
    usual = [(b - a) / 1e6 for one in served.truth().values() for a, b in pairwise(one.offsets_ns)]
    assert stalls_in(spec, events) == sum(gap > 100.0 for gap in usual)


def some_stalled(every: int) -> Iterator[Request]:
    """As ``requests``: one in ``every`` stalls for 200 ms after its sixth token."""
    for number, (calm, stalled) in enumerate(zip(requests(), requests("stall=200@6"), strict=False)):
        yield calm if number % every else stalled


def apart(pairs: list[Pair]) -> list[tuple[float, float]]:
    """Gaps between chunks that were each the last of their read, whose stamps so are their own: as said, as sent."""
    return [
        ((one.chunks_ns[i] - one.chunks_ns[i - 1]) / 1e6, (told.offsets_ns[i] - told.offsets_ns[i - 1]) / 1e6)
        for one, told in pairs
        for i in range(1, len(one.chunks_ns))
        if one.chunks_ns[i] not in (one.chunks_ns[i - 1], *one.chunks_ns[i + 1 : i + 2])
    ]


def p99(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


@pytest.mark.parametrize("every", [4, 10**9], ids=["stalled", "calm"])
def test_a_stall_of_one_gap_in_fifty_is_the_p99(served: Served, every: int) -> None:
    """40 of 1,760 gaps stall for 200 ms: the p99 is one of them, and is the server's to the millisecond.  A busy
    reader takes two chunks in one read, and stamps them as one: those are counted, and compared nowhere."""
    delivered, events = run(
        served, LoadSpec(duration_s=60.0, concurrency=8, max_requests=160), source=some_stalled(every)
    )
    assert delivered.completed == 160
    pairs = joined(said(events), served.truth())
    gaps = [(after - before) / 1e6 for one, _ in pairs for before, after in pairwise(one.chunks_ns)]
    assert events.histogram("itl").quantile(0.99) == pytest.approx(p99(gaps), rel=0.002, abs=0.1)
    assert sum(gap == 0.0 for gap in gaps) == delivered.wire["coalesced_chunks"]
    ours, theirs = (list(side) for side in zip(*apart(pairs), strict=True))
    assert len(ours) > 100
    assert abs(p99(ours) - p99(theirs)) < 1.0
    if every == 4:
        assert sum(gap > 100.0 for gap in theirs) >= 0.02 * len(theirs)
        assert p99(ours) > 100.0


def stalled_here_and_there() -> Iterator[Request]:
    """As ``requests``: two in three stall for 200 ms, each after another token."""
    for number, calm in enumerate(requests()):
        after = 1 + number % (TOKENS - 1)
        yield calm if number % 3 == 0 else replace(calm, headers=(*calm.headers, (FAULT, f"stall=200@{after}")))


def stalled_at(times_ns: list[int], longer_than_ms: float) -> list[int]:
    """Which gaps are stalls."""
    gaps = enumerate(pairwise(times_ns))
    return [place for place, (before, after) in gaps if (after - before) / 1e6 > longer_than_ms]


def is_clear(pair: Pair, limit_ms: float) -> bool:
    """Which gaps are stalls cannot hang on the reading: no gap is near the limit, and chunks that one read took, which
    share its stamp, were sent within less than what is between the two."""
    one, told = pair
    near = stalled_at(told.offsets_ns, 0.5 * limit_ms) != stalled_at(told.offsets_ns, 1.1 * limit_ms)
    together = groupby(zip(one.chunks_ns, told.offsets_ns, strict=True), key=lambda both: both[0])
    spans = [[sent for _, sent in group] for _, group in together]
    return not near and all(sent[-1] - sent[0] < 0.4e6 * limit_ms for sent in spans)


def test_each_answer_s_stalls_are_where_the_server_made_them(served: Served) -> None:
    """Row by row: the gaps that the client calls stalls are those of the server's own word, and their sum is what the
    metric says.  Another answer's truth, the control, does not fit."""
    spec = LoadSpec(duration_s=60.0, concurrency=6, max_requests=90)
    delivered, events = run(served, spec, source=stalled_here_and_there())
    assert delivered.completed == 90
    found = stalls(Stretch("s", spec, events, {}))
    assert isinstance(found, Exact)
    limit = found.details["longer_than_ms"]
    assert isinstance(limit, float)
    pairs = joined(said(events), served.truth())
    assert found.value == sum(len(stalled_at(one.chunks_ns, limit)) for one, _ in pairs)
    clear = [
        (stalled_at(one.chunks_ns, limit), stalled_at(told.offsets_ns, limit))
        for one, told in pairs
        if is_clear((one, told), limit)
    ]
    assert len(clear) > 30
    assert [ours for ours, _ in clear] == [theirs for _, theirs in clear]
    assert sum(map(bool, (theirs for _, theirs in clear))) > 15
    others = [theirs for _, theirs in clear[1:]]
    assert sum(ours != theirs for (ours, _), theirs in zip(clear, others, strict=False)) > 15


def stalls_in(spec: LoadSpec, events: Events) -> float:
    found = stalls(Stretch("s", spec, events, {}))
    assert isinstance(found, Exact)
    return found.value


def test_paced_users_have_one_in_flight_each(served: Served) -> None:
    """Four users who ask every 40 ms of a service that takes 64: each waits for its own last answer."""
    delivered, events = run(served, LoadSpec(duration_s=1.0, users=4, pace_s=0.04))
    assert delivered.max_in_flight == 4
    assert events.completed == delivered.sent
    assert events.histogram("response_time").max > 3 * events.histogram("service_time").quantile(0.5)
    easy, _ = run(served, LoadSpec(duration_s=1.0, users=4, pace_s=0.25))
    assert easy.short is None
    assert easy.completed == 16


def failed(served: Served, fault: str, **spec: Any) -> tuple[str, str]:
    delivered, events = run(
        served,
        LoadSpec(**{"duration_s": 20.0, "concurrency": 1, "max_requests": 2, "request_timeout_s": 10.0, **spec}),
        source=requests(fault),
    )
    ((kind, texts),) = delivered.examples.items()
    assert delivered.failed == events.failed == 2
    assert events.errors == {kind: 2}
    return kind, texts[0]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("reset@3", "reset", "reset"),
        ("cut@3", "incomplete", "cut short"),
        ("bad_json@3", "malformed", "not JSON"),
        ("error_in_200@3", "target", "reports an error"),
        ("429=7", "http_429", "Retry-After: 7"),
        ("500=broken", "http_5xx", "500 Internal Server Error: broken"),
        ("garbage", "protocol", "/v1/chat/completions"),
        ("big=10MB@2", "too_large", "too large"),
    ],
)
def test_each_failure_has_its_kind_and_its_words(served: Served, fault: str, kind: str, words: str) -> None:
    found, text = failed(served, fault)
    assert (found, words in text) == (kind, True), text
    assert text.startswith("POST /v1/chat/completions")


def test_an_answer_that_never_ends_is_a_time_out(served: Served) -> None:
    kind, text = failed(served, "stall=30s@3", request_timeout_s=0.3)
    assert (kind, "0.3 s" in text) == ("timeout", True), text


def test_nobody_there_is_a_failure_to_connect(served: Served) -> None:
    """The server goes away after the target was opened."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    target = target_of(served)

    async def go() -> Delivered:
        await target.open()
        await target.ready()
        nowhere = parse_address(f"http://127.0.0.1:{port}", "a test")
        (model,) = target.models
        target._models[model] = nowhere
        target._served = {nowhere: target._served.pop(target.address)}
        try:
            return await drive(target, requests(), LoadSpec(duration_s=5, concurrency=2, max_requests=6), Events())
        finally:
            await target.close()

    delivered = asyncio.run(go())
    assert delivered.failed == 6
    assert "Connection refused" in delivered.examples["connect"][0]


def test_what_waits_when_the_time_is_over_has_timed_out(served: Served) -> None:
    """One slot that never answers: the request there, and those that were due and wait for it, are all failures."""
    _, events = run(
        served,
        LoadSpec(duration_s=0.5, rate=20.0, arrivals="constant", concurrency=1, request_timeout_s=0.6),
        source=requests("stall=30s@0"),
    )
    assert events.errors == {"timeout": 10}
    assert (events.in_flight, events.waiting, events.cancelled) == (0, 0, 0)


@pytest.mark.parametrize("spec", [{"concurrency": 4}, {"rate": 40.0}, {"users": 8, "pace_s": 0.1}])
def test_a_stop_keeps_what_was_measured(served: Served, spec: dict[str, Any]) -> None:
    """What is in flight is awaited, nothing more is sent, nothing fails: only what was due and not sent yet, as on a
    busy machine the last of a moment is, was given up."""
    delivered, events = run(served, LoadSpec(duration_s=30.0, **spec), stop_after_s=2.0)
    assert delivered.ended == "stopped"
    assert events.completed == delivered.completed == delivered.sent > 5
    assert (events.failed, events.in_flight, events.waiting) == (0, 0, 0)
    ended = [dict(zip(COLUMNS[1:], row, strict=True)) for row in rows(events.drain_rows())]
    assert Counter(row["status"] for row in ended) == {"ok": events.completed} | (
        {"cancelled": events.cancelled} if events.cancelled else {}
    )
    given_up = [row for row in ended if row["status"] == "cancelled"]
    assert [row for row in given_up if row["sent_ns"] is not None or row["due_ns"] > row["end_ns"]] == []
    assert not given_up or "concurrency" not in spec  # in a closed loop nothing falls due
    assert len(served.truth()) == delivered.sent


def test_an_abandoned_load_leaves_nothing_behind(served: Served) -> None:
    """Cancelled from outside, and by an error of a probe: rows have ended, no engine is left."""
    events = Events()

    async def go(on_reply: Any, cancel: bool) -> None:
        target = target_of(served)
        await target.open()
        try:
            load = asyncio.create_task(
                drive(target, requests(), LoadSpec(duration_s=30.0, concurrency=4), events, on_reply=on_reply)
            )
            await asyncio.sleep(0.5)
            if cancel:
                load.cancel()
            await load
        finally:
            await target.close()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(go(None, True))
    assert events.completed > 0
    assert events.cancelled > 0
    assert events.in_flight == events.waiting == 0

    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        asyncio.run(go(broken, False))
    assert events.in_flight == events.waiting == 0


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic", "ollama"])
def test_each_dialect_says_the_same_by_its_rules_as_by_its_reader(served: Served, dialect: str) -> None:
    spec = LoadSpec(duration_s=20.0, concurrency=2, max_requests=6)
    found = []
    for by in (drive, driver.drive):
        replies: list[Reply | None] = []
        failures: list[Failure | None] = []

        def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: object) -> None:
            replies.append(reply)  # noqa: B023
            failures.append(failure)  # noqa: B023

        more = {"answers": True} if by is drive else {}
        delivered, events = run(
            served, spec, by=by, target=target_of(served, dialect=dialect), on_reply=on_reply, **more
        )
        assert bool(delivered.wire) == (by is drive)
        assert failures == [None] * 6
        said_of = sorted(
            (one.text, one.model, one.prompt_tokens, one.completion_tokens, one.counted_by) for one in replies if one
        )
        found.append((said_of, events.chunks, events.prompt_tokens, events.completion_tokens, delivered.tokens))
    assert found[0] == found[1]
    assert found[0][1] == 6 * TOKENS


@pytest.mark.parametrize("slots", [1, 6])
def test_models_at_two_addresses_are_one_load(served: Served, slots: int) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(
            serving(paces_ms=[PACE_MS + 1], tokens=TOKENS, tokens_per_chunk=1, tls=False, longest_s=60.0)
        )

        def rotation() -> Iterator[Request]:
            for i, request in enumerate(requests()):
                request.model = model_of(PACE_MS + i % 2)
                yield request

        delivered, _ = run(
            served,
            LoadSpec(duration_s=20.0, concurrency=slots, max_requests=24),
            source=rotation(),
            target=target_of(served, other),
        )
        there = other.truth()
        here = served.truth()
    assert (delivered.completed, delivered.max_in_flight) == (24, slots)
    assert set(here) == set(range(0, 24, 2))
    assert set(range(1, 24, 2)) <= set(there)


def test_stamps_taken_late_are_seen_by_the_truth() -> None:
    """A client that is stopped again and again, engine and all: with the kernel's stamps nothing shows, with its own it
    claims a slow service (the negative control)."""
    with serving(paces_ms=[60.0], tokens=8, tokens_per_chunk=1, tls=False, longest_s=60.0) as server:
        found = {kernel: stopped_again_and_again(server, kernel) for kernel in (True, False)}
        for _ in range(4):  # a machine that let it stand still for longer had two tokens come meanwhile, read as one
            if found[True]["coalesced_reads"]:
                found[True] = stopped_again_and_again(server, True)
    assert found[True]["kernel_reads"] >= 0.99 * found[True]["reads"]
    assert found[False]["kernel_reads"] == 0
    assert "not by the kernel" in found[False]["warnings"]
    assert found[True]["p99"] < 5.0
    assert found[False]["p99"] > 20.0


def stopped_again_and_again(server: Served, kernel: bool) -> dict[str, Any]:
    """What a process says of a load that it drives, while it is stopped for STOPPED_S after each RUNNING_S."""
    command = [sys.executable, __file__, server.url, "kernel" if kernel else "clock"]
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"driving\n"
        try:
            while process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                time.sleep(STOPPED_S)
                process.send_signal(signal.SIGCONT)
                time.sleep(RUNNING_S)
        finally:
            process.kill()
        found: dict[str, Any] = json.loads(process.stdout.read())
        return found


def main(url: str, stamps: str) -> None:
    """The process that is stopped."""
    setattr(engines, "KERNEL_STAMPS", stamps == "kernel")  # noqa: B010
    server = Served(url, None)
    chat = ChatTarget("openai", parse_address(url, "a test"), None, {model_of(60.0): parse_address(url, "a test")})
    print("driving", flush=True)
    delivered, events = run(server, LoadSpec(duration_s=1.5, concurrency=3), target=chat)
    pairs = joined(said(events), server.truth())
    errors = [
        abs((one.chunks_ns[i] - one.sent_ns) - told.offsets_ns[i]) / 1e6
        for one, told in pairs
        for i in range(len(told.offsets_ns))
    ]
    errors.sort()
    reads = {name: delivered.wire[name] for name in ("reads", "kernel_reads", "coalesced_reads")}
    print(json.dumps({"p99": errors[-len(errors) // 100], "warnings": "; ".join(delivered.warnings), **reads}))


if __name__ == "__main__":
    main(*sys.argv[1:])
