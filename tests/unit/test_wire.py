"""The load engine, through the extension, against a server in a thread of the test."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from perfsuite._core import ERROR_KINDS, RAW_COLUMNS, Events, Wire, WireReply
from perfsuite.suites.selfcheck.against_truth import joined, said
from perfsuite.suites.selfcheck.served import serving as serve
from served import Answering, Asked, chunked, delta, serving, sse, whole

RULES = [
    ("visible", "choices[].delta.content"),
    ("hidden", "choices[].delta.reasoning_content"),
    ("prompt", "usage.prompt_tokens"),
    ("completion", "usage.completion_tokens"),
    ("error", "error"),
]
USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
ANSWER = chunked(*sse(delta("a"), delta("b"), USAGE, "[DONE]"))


@contextmanager
def server(answer: Answering) -> Iterator[int]:
    """Serves from a thread of its own; gives the port."""
    ready = threading.Event()
    port = 0
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def main() -> None:
        nonlocal port
        async with serving(answer) as served:
            port = served.port
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def answer_ok(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER)


async def answer_untold(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(chunked(*sse(delta("a"), "[DONE]")))


def request(path: str = "/", body: bytes = b"", field: str = "Accept: */*") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{field}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def engine(port: int, events: Events, **more: object) -> Wire:
    options: dict[str, object] = {"rules": RULES, "finish": "[DONE]", "marks_end": True, **more}
    return Wire("127.0.0.1", port, events, **options)  # type: ignore[arg-type]


def gather(wire: Wire, count: int) -> list[WireReply]:
    replies: list[WireReply] = []
    while len(replies) < count:
        replies += wire.poll(0.5)
    return replies


def test_what_the_server_does_not_tell_is_counted_by_whoever_polls() -> None:
    events = Events()
    asked: list[WireReply] = []

    def count(reply: WireReply) -> tuple[int | None, int | None]:
        asked.append(reply)
        assert (reply.prompt_tokens, reply.completion_tokens) == (None, None)
        return None, 100 + reply.tag

    with server(answer_untold) as port:
        wire = engine(port, events, connections=2)
        for tag in range(8):
            assert wire.submit(request(), tag=tag)
        wire.start()
        ended: list[WireReply] = []
        while len(ended) < 8:
            ended += wire.poll(0.5, count)
        wire.stop()
    assert sorted(reply.tag for reply in asked) == list(range(8))
    assert all(reply.completion_tokens is None for reply in ended)  # told is what the server told
    tokens = events.histogram("completion_tokens")
    assert (tokens.count, tokens.min, tokens.max) == (8, 100.0, 107.0)
    assert events.histogram("prompt_tokens").count == 0
    assert events.max_in_flight <= 2


@pytest.mark.parametrize(
    ("gives", "error"),
    [
        (3, TypeError),
        ((1,), TypeError),
        ((1, "a"), TypeError),
        ((-1, 1), ValueError),
        ((1, 10**10), ValueError),
        (None, ZeroDivisionError),
    ],
)
def test_a_count_that_is_none_is_told_and_what_happened_is_recorded(gives: object, error: type[Exception]) -> None:
    events = Events()

    def count(reply: WireReply) -> Any:
        return gives if gives is not None else 1 // 0

    with server(answer_untold) as port:
        wire = engine(port, events)
        assert wire.submit(request())
        wire.start()
        with pytest.raises(error):  # noqa: PT012  until it has ended
            while True:
                wire.poll(0.5, count)
        wire.stop()
    assert (events.completed, events.in_flight) == (1, 0)


def test_a_closed_loop_is_recorded() -> None:
    events = Events(raw=True)
    with server(answer_ok) as port:
        wire = engine(port, events, connections=3)
        for tag in range(30):
            assert wire.submit(request(body=b"x" * tag), tag=tag, keep=tag == 5)
        wire.start()
        replies = gather(wire, 30)
        wire.stop()
    assert sorted(reply.tag for reply in replies) == list(range(30))
    for reply in replies:
        assert (reply.status, reply.http_status, reply.why) == (0, 200, None)
        assert (reply.prompt_tokens, reply.completion_tokens, reply.chunks) == (7, 2, 2)
        assert reply.sent_ns is not None
        assert reply.first_ns is not None
        assert reply.due_ns <= reply.sent_ns <= reply.first_ns <= reply.end_ns
        assert (reply.body is not None) == (reply.tag == 5)
        assert b"usage" in reply.last
    assert next(reply.body for reply in replies if reply.tag == 5) == b"".join(
        sse(delta("a"), delta("b"), USAGE, "[DONE]")
    )
    assert (events.started, events.completed, events.failed, events.in_flight) == (30, 30, 0, 0)
    assert events.max_in_flight == 3
    for name in ("ttft", "service_ttft", "itl", "response_time", "completion_tokens"):
        assert events.histogram(name).count == 30
    assert len(events.drain_rows()) == 30 * 104
    stats = wire.stats()
    assert (stats["connects"], stats["sent"], stats["reused"], stats["ended"]) == (3, 30, 27, 30)
    assert stats["kernel_reads"] <= stats["reads"]
    assert RAW_COLUMNS[0] == ("tag", "q")


def test_512_asked_is_512_held() -> None:
    here = 0
    all_here = asyncio.Event()

    async def together(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal here
        first, *rest = sse(delta("a"), delta("b"), USAGE, "[DONE]")
        writer.write(chunked(first, end=False))
        here += 1
        if here == 512:
            all_here.set()
        await all_here.wait()  # nobody goes on until everybody is here
        writer.write(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in rest) + b"0\r\n\r\n")

    events = Events()
    with server(together) as port:
        wire = engine(port, events, connections=512)
        for tag in range(1024):
            assert wire.submit(request(), tag=tag)
        wire.start()
        replies = gather(wire, 1024)
        wire.stop()
    assert {reply.status for reply in replies} == {0}
    assert events.max_in_flight == 512
    assert events.completed == 1024
    assert sum(reply.chunks for reply in replies) == 2048
    assert events.histogram("itl").count == 1024
    assert wire.stats()["connects"] == 512


def test_a_schedule_is_kept_and_lateness_is_told() -> None:
    events = Events()
    with server(answer_ok) as port:
        wire = engine(port, events, connections=2)
        start = time.monotonic_ns() + 30_000_000
        dues = [start + i * 4_000_000 for i in range(10)]
        for tag, due in enumerate(dues):
            assert wire.submit(request(), due, tag)
        wire.start()
        replies = gather(wire, 10)
        late_before = wire.stats()["late_sends"]
        assert wire.submit(request(), time.monotonic_ns() - 5_000_000)  # the client's own fault
        gather(wire, 1)
        wire.stop()
    for reply in replies:
        assert reply.due_ns == dues[reply.tag]
        assert reply.sent_ns is not None
        assert reply.sent_ns >= reply.due_ns
    assert wire.stats()["late_sends"] == late_before + 1
    assert events.histogram("lateness").count == 11


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (whole("429 Slow Down", {"error": {"message": "later"}}, "Retry-After: 2"), "http_429"),
        (whole("404 Not Found", {"detail": "no"}), "http_4xx"),
        (whole("503 Busy", b"busy"), "http_5xx"),
        (b"nonsense\r\n\r\n", "protocol"),
        (b"", "closed"),
        (ANSWER[:-20], "incomplete"),
        (chunked(*sse(delta("a"))), "incomplete"),
        (chunked(b"data: {broken\n\n"), "malformed"),
        (chunked(*sse({"error": {"message": "over quota"}})), "target"),
        (chunked(b"data: " + b"x" * 3000 + b"\n\n"), "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_kind_of_failure(answer: bytes, kind: str) -> None:
    async def fail(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return False

    events = Events()
    with server(fail) as port:
        wire = engine(port, events, max_event=2048)
        wire.submit(request())
        wire.start()
        (reply,) = gather(wire, 1)
        wire.stop()
    assert ERROR_KINDS[reply.status] == kind
    assert reply.why
    assert events.failed == 1
    assert events.errors == {kind: 1}
    if kind == "http_429":
        assert reply.retry_after_s == 2
        assert b"later" in reply.last
    if kind == "target":
        assert b"over quota" in reply.last


def test_a_server_that_closes_after_each_answer() -> None:
    """It says keep-alive and closes: found out before the next request or by it, never a failure."""

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(ANSWER)
        return False

    events = Events()
    with server(once) as port:
        wire = engine(port, events, connections=4)
        for _ in range(100):
            wire.submit(request())
        wire.start()
        gather(wire, 100)
        wire.stop()
    stats = wire.stats()
    assert (events.completed, events.failed) == (100, 0)
    assert stats["stale_retries"] + stats["stale_closed"] >= 96
    assert stats["connects"] == 100


def test_it_times_out_and_goes_on() -> None:
    async def stall(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path == "/stall":
            await asyncio.Event().wait()
        writer.write(ANSWER)

    events = Events()
    with server(stall) as port:
        wire = engine(port, events, timeout_s=0.1)
        wire.submit(request("/stall"))
        wire.submit(request("/"))
        wire.start()
        first, second = gather(wire, 2)
        wire.stop()
    assert ERROR_KINDS[first.status] == "timeout"
    assert first.end_ns - first.due_ns >= 100_000_000
    assert ERROR_KINDS[second.status] in ("ok", "timeout")  # a busy machine may be slow as well


def test_other_streams() -> None:
    async def plain(asked: Asked, writer: asyncio.StreamWriter) -> None:
        bodies = {
            "/ndjson": chunked(
                b'{"message":{"content":"a"}}\n{"done":true,"eval_count":4}', kind="application/x-ndjson"
            ),
            "/text": chunked(b"a", b"b", kind="text/plain"),
            "/json": whole("200 OK", {"message": {"content": "a"}, "eval_count": 3}),
        }
        writer.write(bodies[asked.path])

    rules = [("visible", "message.content"), ("completion", "eval_count"), ("finish", "done")]
    with server(plain) as port:
        for kind, rule, path, tokens in (
            ("ndjson", rules, "/ndjson", 4),
            ("text", (), "/text", None),
            ("none", rules, "/json", 3),
        ):
            events = Events()
            wire = engine(port, events, stream=kind, rules=rule, finish=None, marks_end=kind == "ndjson")
            wire.submit(request(path))
            wire.start()
            (reply,) = gather(wire, 1)
            wire.stop()
            assert (reply.status, reply.why) == (0, None)
            assert reply.completion_tokens == tokens
            assert reply.chunks >= 1


def test_stopping_leaves_nothing_behind() -> None:
    async def never(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = files()
    with server(never) as port:
        warm = Wire("127.0.0.1", port, Events())
        del warm
        gc.collect()
        threads = len(os.listdir("/proc/self/task"))
        for how in ("stopped", "dropped", "never started"):
            events = Events()
            wire = engine(port, events, connections=4)
            for _ in range(8):
                assert wire.submit(request())
            if how != "never started":
                wire.start()
                while events.in_flight < 4:
                    wire.poll(0.1)
            if how == "stopped":
                wire.stop()
                wire.stop()
                assert {ERROR_KINDS[reply.status] for reply in wire.poll()} == {"cancelled"}
                assert not wire.submit(request())
                assert wire.stats()["unsent"] == 4
            del wire
            gc.collect()
            assert events.cancelled == (0 if how == "never started" else 4)
            assert events.in_flight == 0
        assert len(os.listdir("/proc/self/task")) == threads
    assert files() <= before


def test_the_descriptor_tells_when_to_poll() -> None:
    with server(answer_ok) as port:

        async def main() -> list[WireReply]:
            told = asyncio.Event()
            wire = engine(port, Events())
            asyncio.get_running_loop().add_reader(wire.fileno(), told.set)
            wire.submit(request())
            wire.start()
            await told.wait()
            asyncio.get_running_loop().remove_reader(wire.fileno())
            found = wire.poll()
            wire.stop()
            return found

        assert [reply.status for reply in asyncio.run(main())] == [0]


def test_many_threads_submit_while_one_polls() -> None:
    with server(answer_ok) as port:
        events = Events()
        wire = engine(port, events, connections=4, queue=64)
        wire.start()

        def feed(first: int) -> None:
            for tag in range(first, first + 100):
                while not wire.submit(request(), tag=tag):
                    time.sleep(0.001)

        threads = [threading.Thread(target=feed, args=(k * 100,)) for k in range(4)]
        for thread in threads:
            thread.start()
        tags = sorted(reply.tag for reply in gather(wire, 400))
        for thread in threads:
            thread.join()
        wire.stop()
    assert tags == list(range(400))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"connections": 0}, ValueError, "connections"),
        ({"timeout_s": 0.0}, ValueError, "timeout_s"),
        ({"stream": "xml"}, ValueError, "sse, ndjson, text or none"),
        ({"rules": [("seen", "a")]}, ValueError, "visible, hidden"),
        ({"rules": [("visible", "a..b")]}, ValueError, "is not a path"),
        ({"rules": ["visible"]}, TypeError, "tuple"),
        ({"rules": [("visible", "a")] * 65}, ValueError, "64"),
        ({"max_event": 10, "max_body": 5}, ValueError, "max_body"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        engine(1, Events(), **change)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="port"):
        Wire("127.0.0.1", 0, Events())
    with pytest.raises(OSError, match="no address"):
        Wire("no such host.invalid", 80, Events())
    wire = Wire("127.0.0.1", 9, Events())
    for wrong in (b"", "x"):
        with pytest.raises(TypeError, match="request"):
            wire.submit(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout_s"):
        wire.poll(-1.0)
    wire.start()
    with pytest.raises(RuntimeError, match="started before"):
        wire.start()
    references = sys.getrefcount(Wire)
    del wire
    gc.collect()
    assert sys.getrefcount(Wire) == references - 1


def test_localhost_is_found_where_it_listens() -> None:
    with server(answer_ok) as port:  # on 127.0.0.1 only; localhost may be ::1 first
        wire = Wire("localhost", port, Events(), rules=RULES, finish="[DONE]")
        wire.submit(request())
        wire.start()
        (reply,) = gather(wire, 1)
        wire.stop()
    assert reply.status == 0


def test_a_request_larger_than_the_socket_takes() -> None:
    bodies: list[int] = []

    async def count(asked: Asked, writer: asyncio.StreamWriter) -> None:
        bodies.append(len(asked.body))
        writer.write(ANSWER)

    events = Events()
    with server(count) as port:
        wire = engine(port, events, connections=2)
        for _ in range(4):
            assert wire.submit(request(body=b"x" * (12 << 20)))
        wire.start()
        replies = gather(wire, 4)
        wire.stop()
    assert [reply.status for reply in replies] == [0] * 4
    assert bodies == [12 << 20] * 4
    assert wire.stats()["bytes_sent"] > 48 << 20
    assert events.max_in_flight <= 2


def test_an_answer_that_said_it_was_complete_and_never_ends() -> None:
    async def linger(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(*sse(delta("a"), delta("b"), USAGE, "[DONE]"), end=False))
        await writer.drain()
        await asyncio.Event().wait()

    with server(linger) as port:
        wire = engine(port, Events(), connections=2)
        for _ in range(2):
            wire.submit(request())
        wire.start()
        replies = gather(wire, 2)
        wire.stop()
    for reply in replies:
        assert (reply.status, reply.chunks) == (0, 2)
        assert reply.first_ns == reply.end_ns or reply.completion_tokens == 2


def test_without_the_kernels_stamps() -> None:
    with server(answer_ok) as port:
        wire = engine(port, Events(), kernel=False)
        wire.submit(request())
        wire.start()
        (reply,) = gather(wire, 1)
        wire.stop()
    stats = wire.stats()
    assert (reply.status, reply.kernel_sent, reply.kernel_received) == (0, False, False)
    assert (stats["kernel_reads"], stats["kernel_sends"], stats["clock_pairs"]) == (0, 0, 1)
    assert stats["reads"] >= 1


def test_a_poll_waits_while_another_thread_stops() -> None:
    async def never(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with server(never) as port:
        events = Events()
        wire = engine(port, events)
        wire.submit(request())
        wire.start()
        while events.in_flight < 1:
            wire.poll(0.1)
        stopper = threading.Thread(target=wire.stop)
        stopper.start()
        (reply,) = gather(wire, 1)
        stopper.join()
    assert ERROR_KINDS[reply.status] == "cancelled"
    with pytest.raises(RuntimeError, match="or stopped"):
        wire.start()


def test_the_truth_on_the_wire() -> None:
    """What it reports is what ``serve`` sent, as the kernel stamped both ends, however busy the machine is.

    Chunks that wait for a busy reader come in one read, and have the stamp of its last (``coalesced_chunks``): that
    one is compared, and the others are counted.
    """
    with serve(paces_ms=[20.0], tokens=20, tokens_per_chunk=1, tls=False, longest_s=120.0) as served:
        body = json.dumps({"stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
        events = Events(raw=True, stamps=True)
        wire = engine(int(served.url.rpartition(":")[2]), events, connections=32)
        for tag in range(64):
            wire.submit(request("/v1/chat/completions", body, f"X-Request-Id: {tag}"), tag=tag)
        wire.start()
        replies = gather(wire, 64)
        wire.stop()
        mine, truth = said(events), served.truth()
    pairs = dict(zip(mine, joined(mine, truth), strict=True))
    assert {reply.status for reply in replies} == {0}
    assert sum(reply.chunks for reply in replies) == 64 * 20
    assert events.max_in_flight == 32
    gaps = sorted((after - before) / 1e6 for one, _ in pairs.values() for before, after in pairwise(one.chunks_ns))
    assert events.histogram("itl").quantile(0.5) == pytest.approx(gaps[len(gaps) // 2], abs=0.1)
    assert sum(gap == 0.0 for gap in gaps) == wire.stats()["coalesced_chunks"]
    stamped = {reply.tag for reply in replies if reply.kernel_sent and reply.kernel_received}
    errors_ns = sorted(
        abs((at_ns - one.sent_ns) - sent_ns)
        for tag, (one, told) in pairs.items()
        for at_ns, following_ns, sent_ns in zip(one.chunks_ns, [*one.chunks_ns[1:], None], told.offsets_ns, strict=True)
        if told.kernel and tag in stamped and at_ns != following_ns
    )
    if not errors_ns:
        pytest.skip("this system does not stamp every packet")
    assert errors_ns[len(errors_ns) * 9 // 10] < 500_000


def test_a_refused_connection() -> None:
    with server(answer_ok) as port:
        pass
    events = Events()
    wire = engine(port, events)
    wire.submit(request())
    wire.start()
    (reply,) = gather(wire, 1)
    wire.stop()
    assert ERROR_KINDS[reply.status] == "connect"
    assert os.strerror(reply.error_number)
    assert (reply.sent_ns, reply.first_ns, reply.retry_after_s) == (None, None, None)


async def answer_by_path(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """The path says which events to send."""
    if asked.path == "/silent":
        await asyncio.sleep(30)
    first = {"usage": {"input_tokens": 10, "cache_read": 4, "cache_creation": 2, "output_tokens": 1}}
    answers = {
        "/cached": sse(first, delta("a"), {"usage": {"output_tokens": 3}}, "[DONE]"),
        "/named": [*sse(delta("no"), name="metadata"), *sse(delta("yes"), name="messages"), *sse("[DONE]")],
        "/error": [*sse(delta("yes"), name="messages"), *sse({"message": "it broke"}, name="error")],
        "/mute": sse({"choices": []}, "[DONE]"),
    }
    writer.write(chunked(*answers.get(asked.path, sse(delta("a"), "[DONE]"))))


def test_what_came_from_a_cache_is_added_to_the_prompt() -> None:
    rules = [
        ("visible", "choices[].delta.content"),
        ("prompt", "usage.input_tokens"),
        ("more_prompt", "usage.cache_read"),
        ("more_prompt", "usage.cache_creation"),
        ("completion", "usage.output_tokens"),
    ]
    with server(answer_by_path) as port:
        wire = engine(port, Events(), rules=rules)
        wire.submit(request("/cached"))
        wire.start()
        (reply,) = gather(wire, 1)
        wire.stop()
    assert (reply.prompt_tokens, reply.completion_tokens, reply.chunks) == (16, 3, 1)


def test_events_of_other_names_are_passed_over_and_errors_are_errors() -> None:
    with server(answer_by_path) as port:
        wire = engine(port, Events(), names=["messages"], marks_end=False)
        for path in ("/named", "/error"):
            wire.submit(request(path))
        wire.start()
        named, failed = gather(wire, 2)
        wire.stop()
        every = engine(port, Events())
        every.submit(request("/named"))
        every.start()
        (unnamed,) = gather(every, 1)
        every.stop()
    assert (named.status, named.chunks) == (0, 1)
    assert (ERROR_KINDS[failed.status], failed.last) == ("target", b'{"message": "it broke"}')
    assert unnamed.chunks == 2
    with pytest.raises(ValueError, match="65 names"):
        engine(1, Events(), names=["n"] * 65)


def test_an_answer_without_a_chunk_is_malformed_where_there_must_be_one() -> None:
    for speaks, kind in ((True, "malformed"), (False, "ok")):
        with server(answer_by_path) as port:
            wire = engine(port, Events(), speaks=speaks)
            wire.submit(request("/mute"))
            wire.submit(request("/ok"))
            wire.start()
            mute, spoken = gather(wire, 2)
            wire.stop()
        assert (ERROR_KINDS[mute.status], spoken.status) == (kind, 0)


@pytest.mark.parametrize("late", [False, True])
def test_giving_up_sends_nothing_more(late: bool) -> None:
    """Two are under way, three are due and wait, one is not due: nobody sends that one."""
    events = Events()
    with server(answer_by_path) as port:
        wire = engine(port, events, connections=2, timeout_s=60)
        now = time.monotonic_ns()
        for tag in range(5):
            wire.submit(request("/silent"), due_ns=now, tag=tag)
        wire.submit(request(), due_ns=now + 3_600_000_000_000, tag=5)
        wire.start()
        while events.in_flight < 2 or events.waiting < 3:
            assert wire.poll(0.05) == []
        wire.give_up(late)
        ended = gather(wire, 5 if late else 3)
        assert wire.submit(request()) is False
        assert wire.poll(0.05) == []
        assert events.in_flight == (0 if late else 2)
        wire.stop()
        rest = wire.poll()
    kinds = {reply.tag: ERROR_KINDS[reply.status] for reply in ended}
    if late:
        assert kinds == dict.fromkeys(range(5), "timeout")
        assert (events.failed, rest) == (5, [])
    else:
        assert kinds == dict.fromkeys((2, 3, 4), "cancelled")
        assert [ERROR_KINDS[reply.status] for reply in rest] == ["cancelled"] * 2
    assert wire.stats()["unsent"] == 1


def test_what_is_submitted_late_goes_before_what_is_due_later() -> None:
    with server(answer_by_path) as port:
        wire = engine(port, Events())
        wire.start()
        now = time.monotonic_ns()
        for tag, after_ms in enumerate((300, 100, 200, 100, -50)):
            wire.submit(request(), due_ns=now + after_ms * 1_000_000, tag=tag)
        replies = gather(wire, 5)
        wire.stop()
    assert [reply.tag for reply in replies] == [4, 1, 3, 2, 0]
    assert all(reply.sent_ns is not None and reply.sent_ns >= reply.due_ns for reply in replies)
