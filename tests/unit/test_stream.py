"""Streams and responses, through the extension: against models in Python and a peer, cut at any place."""

from __future__ import annotations

import gc
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite._core import ResponseParser, StreamParser

Event = tuple[str, bytes]


def sse_model(body: bytes) -> tuple[list[Event], bool]:
    """The standard's algorithm on a whole body, the plain way: events, and whether one was under way at the end."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    last = lines.pop()
    events: list[Event] = []
    name, data = b"", b""
    for line in lines:
        if not line:
            if data:
                events.append((name.decode("utf-8", "replace") or "message", data[:-1]))
            name, data = b"", b""
            continue
        field, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value
        assert colon or not value
    return events, bool(data or name or (last and not last.startswith(b":")))


def ndjson_model(body: bytes) -> list[bytes]:
    lines = [line.removesuffix(b"\r") for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return [line for line in lines if line.strip(b" \t\r")]


def pieces(body: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    return [body[a:b] for a, b in pairwise(places)]


def parsed(parser: StreamParser, parts: list[bytes]) -> tuple[list[tuple[int, str, bytes]], bool]:
    """Feeds the parts with 0, 1, 2… as their stamps."""
    counted = sum(parser.feed(part, stamp) for stamp, part in enumerate(parts))
    assert counted == parser.waiting
    whole = parser.end()
    return parser.take(), whole


SSE_PARTS = st.sampled_from(
    [b"data", b"data:", b"data: x", b"event: a", b"event: \xc3\xa9\xff", b"id: 7", b":c", b"\n", b"\r", b"\r\n",
     b"\n\n", b"\xef\xbb\xbf", b" ", b":", b"\x00", b"y"]
)  # fmt: skip
BODIES = st.lists(SSE_PARTS, max_size=30).map(b"".join)
CUTS = st.lists(st.integers(0, 120), max_size=12)


@given(BODIES, CUTS)
def test_server_sent_events_as_the_standard_has_them(body: bytes, cuts: list[int]) -> None:
    expected, under_way = sse_model(body)
    parser = StreamParser()
    events, whole = parsed(parser, pieces(body, cuts))
    assert [(name, data) for _, name, data in events] == expected
    assert whole is not under_way or (whole and body in (b"\xef", b"\xef\xbb"))
    assert (parser.cut is None) is whole


@given(BODIES, CUTS)
def test_an_event_has_the_stamp_of_the_piece_that_completed_it(body: bytes, cuts: list[int]) -> None:
    parts = pieces(body, cuts)
    events, _ = parsed(StreamParser(), parts)
    for k, (stamp, _, _) in enumerate(events):
        before = sse_model(b"".join(parts[:stamp]))[0]
        after = sse_model(b"".join(parts[: stamp + 1]))[0]
        assert len(before) <= k < len(after)


@given(st.lists(st.sampled_from([b'{"a":1}', b"\n", b"\r\n", b" ", b"\r", b"x"]), max_size=30).map(b"".join), CUTS)
def test_lines_of_json(body: bytes, cuts: list[int]) -> None:
    events, whole = parsed(StreamParser("ndjson"), pieces(body, cuts))
    assert whole
    assert [(name, data) for _, name, data in events] == [("", line) for line in ndjson_model(body)]


@given(st.binary(max_size=80), CUTS)
def test_text_is_its_pieces(body: bytes, cuts: list[int]) -> None:
    parts = pieces(body, cuts)
    events, whole = parsed(StreamParser("text"), parts)
    assert whole
    assert events == [(stamp, "", part) for stamp, part in enumerate(parts) if part]


def test_an_event_that_is_too_large_ends_the_stream_behind_those_before_it() -> None:
    parser = StreamParser(max_event=64)
    with pytest.raises(OverflowError, match="larger than 64 bytes"):
        parser.feed(b"data: a\n\ndata: " + b"x" * 65 + b"\n\ndata: b\n\n", 3)
    assert parser.take() == [(3, "message", b"a")]
    with pytest.raises(OverflowError):
        parser.feed(b"\n\n")
    with pytest.raises(OverflowError):
        parser.end()
    parser.reset()
    assert parser.feed(b"data: " + b"x" * 64 + b"\n\n") == 1


def test_a_stream_that_was_cut_shows_what_came() -> None:
    parser = StreamParser()
    parser.feed(b'id: 5\nretry: 20\ndata: a\n\ndata: {"b')
    assert not parser.end()
    assert parser.cut == b'{"b'
    assert parser.last_event_id == "5"
    assert parser.retry_ms == 20
    assert not parser.end()
    parser.reset()
    assert (parser.cut, parser.last_event_id, parser.retry_ms, parser.waiting) == (None, "", None, 0)
    assert parser.end()


def test_any_bytes_like_object_is_read_and_may_change_afterwards() -> None:
    parser = StreamParser()
    data = bytearray(b"data: a\n\n")
    assert parser.feed(data) == 1
    data[:] = b"x" * 9
    assert parser.feed(memoryview(b"data: bc\n\n")) == 1
    assert [event[2] for event in parser.take()] == [b"a", b"bc"]


def test_a_waiting_event_keeps_its_chunk_and_taking_lets_it_go() -> None:
    parser = StreamParser()
    chunk = b"data: %s" % (b"a" * 50) + b"\n\n" * 2
    before = sys.getrefcount(chunk)
    parser.feed(chunk)
    assert sys.getrefcount(chunk) == before + 1
    parser.take()
    assert sys.getrefcount(chunk) == before


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: StreamParser("html"), ValueError),  # type: ignore[arg-type]
        (lambda: StreamParser(max_event=0), ValueError),
        (lambda: StreamParser(max_event=-1), ValueError),
        (lambda: ResponseParser(max_head=63), ValueError),
        (lambda: ResponseParser(stream="sse"), TypeError),  # type: ignore[arg-type]
        (lambda: StreamParser().feed("text"), TypeError),  # type: ignore[arg-type]
        (lambda: StreamParser().feed(b"", 2**63), ValueError),
        (lambda: StreamParser().feed(b"", 1.5), TypeError),  # type: ignore[arg-type]
        (lambda: StreamParser().feed(), TypeError),  # type: ignore[call-arg]
    ],
)
def test_wrong_arguments(make: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()  # type: ignore[operator]


# ── responses ─────────────────────────────────────────────────────────────────────────────────────────────────────────

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def chunked(body: bytes, cuts: list[int]) -> bytes:
    framed = [b"%x;e=1\r\n%b\r\n" % (len(part), part) for part in pieces(body, cuts) if part]
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(framed) + b"0\r\nX-Sum: 1\r\n\r\n"


def answered(data: bytes, cuts: list[int], close: bool = False) -> tuple[ResponseParser, bytes]:
    parser = ResponseParser()
    counted = sum(parser.feed(part, stamp) for stamp, part in enumerate(pieces(data, cuts)))
    assert not close or parser.close()
    taken = parser.take()
    assert counted == len(taken)
    return parser, b"".join(part for _, part in taken)


@given(st.binary(max_size=100), CUTS, CUTS)
def test_a_body_however_it_is_framed_and_cut(body: bytes, frames: list[int], cuts: list[int]) -> None:
    with_length = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for data, close in ((chunked(body, frames), False), (with_length, False), (HEAD + b"\r\n" + body, True)):
        parser, got = answered(data, [2 * cut for cut in cuts], close)
        assert got == body
        assert parser.body_bytes == len(body)
        assert parser.done
        assert parser.keep_alive is not close
        assert parser.headers["content-type"] == "text/event-stream"
        assert parser.trailers == ({"x-sum": "1"} if b"chunked" in data else {})


@given(BODIES, CUTS, CUTS)
def test_a_chunked_stream_gives_the_events_of_its_body(body: bytes, frames: list[int], cuts: list[int]) -> None:
    stream = StreamParser()
    parser = ResponseParser(stream)
    data = chunked(body, frames)
    counted = sum(parser.feed(part) for part in pieces(data, [3 * cut for cut in cuts]))
    assert parser.done
    assert parser.streaming
    assert counted == stream.waiting
    assert parser.take() == []
    assert [(name, text) for _, name, text in stream.take()] == sse_model(body)[0]


h11_header = st.tuples(
    st.sampled_from([b"Content-Length", b"Connection", b"X-A", b"Transfer-Encoding"]),
    st.sampled_from([b"3", b"4", b"close", b"keep-alive", b"chunked", b"3, 3", b"-1", b"a b", b""]),
)


@given(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 No"]),
    st.lists(h11_header, max_size=4),
    st.sampled_from([b"", b"abc", b"abcd", b"3\r\nabc\r\n0\r\n\r\n", b"zz"]),
)  # fmt: skip
def test_what_both_accept_both_read_alike(line: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    """h11, which lets some things pass that ours refuses, is never more certain of another body."""
    h11 = pytest.importorskip("h11", reason="needs h11: pip install h11")
    data = line + b"\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n" + body
    ours = ResponseParser()
    try:
        ours.feed(data)
        complete = ours.close()
    except ValueError:
        return
    if not complete or ours.rest:
        return
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(data)
    theirs.receive_data(b"")
    got = b""
    try:
        while not isinstance(event := theirs.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            got += bytes(event.data) if isinstance(event, h11.Data) else b""
    except h11.RemoteProtocolError:
        return
    assert b"".join(part for _, part in ours.take()) == got


def test_an_error_is_no_stream() -> None:
    stream = StreamParser()
    parser = ResponseParser(stream)
    parser.feed(b'HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\n{"e": 1}\n', 5)
    assert (parser.status, parser.retry_after, parser.content_length) == (429, 7, 9)
    assert not parser.streaming
    assert parser.take() == [(5, b'{"e": 1}\n')]
    assert (parser.head_ns, parser.end_ns, stream.waiting) == (5, 5, 0)


@pytest.mark.parametrize(
    ("kind", "header", "streaming"),
    [
        ("sse", b"Content-Type: text/event-stream; charset=utf-8", True),
        ("sse", b"X: y", True),
        ("sse", b"Content-Type: Application/JSON", False),
        ("ndjson", b"Content-Type: application/json", True),
        ("sse", b"Content-Encoding: gzip", False),
        ("sse", b"Content-Encoding: identity", True),
    ],
)
def test_which_bodies_are_streams(kind: str, header: bytes, streaming: bool) -> None:
    parser = ResponseParser(StreamParser(kind))  # type: ignore[arg-type]
    parser.feed(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\ndata: x")
    assert parser.streaming is streaming
    assert len(parser.take()) == (not streaming)


def test_a_connection_that_closes() -> None:
    parser = ResponseParser()
    assert not parser.close()  # no byte came: the request may be sent again
    assert not parser.begun
    parser.begin()
    parser.feed(HEAD + b"Content-Length: 5\r\n\r\nabc")
    assert not parser.close()
    assert parser.begun
    assert not parser.done
    assert parser.end_ns is None
    assert parser.take()[0][1] == b"abc"


def test_one_connection_answers_again_and_again() -> None:
    stream = StreamParser()
    parser = ResponseParser(stream)
    for k in range(3):
        parser.begin()
        parser.feed(chunked(b"data: %d\n\n" % k, [2]))
        assert parser.keep_alive
        assert [data for _, _, data in stream.take()] == [b"%d" % k]
    parser.begin(True)
    parser.feed(HEAD + b"Content-Length: 5\r\n\r\n")
    assert parser.keep_alive
    parser.feed(b"who asked")
    parser.feed(b" for this")
    assert parser.rest == b"who asked for this"
    assert not parser.keep_alive


def test_what_was_before_a_fault_is_kept() -> None:
    stream = StreamParser()
    parser = ResponseParser(stream)
    with pytest.raises(ValueError, match="longer than its size"):
        parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\nXX", 4)
    assert stream.take() == [(4, "message", b"a")]
    for again in (lambda: parser.feed(b"x"), parser.close):
        with pytest.raises(ValueError, match="longer than its size"):
            again()
    with pytest.raises(OverflowError, match="too large"):
        ResponseParser(max_head=64).feed(HEAD * 2)
    small = ResponseParser(StreamParser(max_event=8))
    for _ in range(2):
        with pytest.raises(OverflowError, match="larger than 8 bytes"):
            small.feed(HEAD + b"\r\ndata: 123456789\n\n")


def test_headers_of_one_name_are_joined() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\nA: x\r\nB: \xe9\r\na: y\r\n\r\n")
    assert parser.headers == {"a": "x, y", "b": "é"}


def test_every_allocation_may_fail() -> None:
    """Python's own allocations too: a MemoryError, nothing lost but what is under way, usable after a reset."""
    testcapi = pytest.importorskip("_testcapi", reason="this Python has no _testcapi")
    data = chunked(b"event: a\ndata: 1\ndata: 2\n\ndata: 3\n\n", [5, 11, 21, 22])
    failures = 0
    for fail in range(1, 60):
        stream = StreamParser()
        parser = ResponseParser(stream)
        parts = [data[i : i + 7] for i in range(0, len(data), 7)]
        error = False
        testcapi.set_nomemory(fail, fail + 1)
        try:
            for part in parts:
                parser.feed(part, 1)
        except MemoryError:
            error = True
        finally:
            testcapi.remove_mem_hooks()
        failures += error
        parser.begin()
        assert parser.feed(data, 2) == 2
        assert stream.take() == [(2, "a", b"1\n2"), (2, "message", b"3")]
    assert failures > 3


def test_nothing_is_left_behind() -> None:
    data = chunked(b"event: a\ndata: 1\ndata: 2\n\ndata: 3\n\n", [5, 11])

    def once() -> None:
        stream = StreamParser()
        parser = ResponseParser(stream)
        for i in range(0, len(data), 3):
            parser.feed(data[i : i + 3])
        stream.take()
        parser.begin()
        parser.feed(data)

    once()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(200):
        once()
    gc.collect()
    assert sys.getallocatedblocks() - before < 50
