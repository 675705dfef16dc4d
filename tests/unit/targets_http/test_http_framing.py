"""HTTP answers and streams, however their bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.targets.http.framing import ProtocolError, ResponseParser
from perfsuite.targets.http.splitting import EventTooLarge, Splitter

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)
FIXED = b"HTTP/1.1 404 Not Found\r\nContent-Length: 11\r\nConnection: close\r\n\r\nhello world"


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.sampled_from([CHUNKED, FIXED]), st.lists(st.integers(0, 500)))
def test_any_split_of_an_answer_reads_the_same(data: bytes, cuts: list[int]) -> None:
    parser = ResponseParser()
    body = b"".join(part for piece in pieces(data, cuts) for part in parser.feed(piece))
    assert body == b"hello world"
    assert parser.complete
    assert not parser.surplus
    assert (parser.status, parser.keep_alive) == ((200, True) if data is CHUNKED else (404, False))


def test_repeated_headers_are_joined_and_surplus_ends_the_connection() -> None:
    parser = ResponseParser()
    parser.feed(CHUNKED + b"HTTP/1.1 200 OK\r\n")
    assert parser.headers["x-a"] == "1, 2"
    assert parser.surplus
    assert not parser.keep_alive


def test_a_body_without_length_ends_with_the_connection() -> None:
    parser = ResponseParser()
    assert parser.feed(b"HTTP/1.0 200 OK\n\nab") == [b"ab"]
    assert parser.feed(b"cd") == [b"cd"]
    assert not parser.complete
    assert parser.close()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResponseParser().feed(data)


def split(kind: str, data: bytes, cuts: list[int]) -> list[tuple[str, bytes]]:
    splitter = Splitter(kind)  # type: ignore[arg-type]
    found = [one for piece in pieces(data, cuts) for one in splitter.feed(piece, 1)]
    return [(name, payload) for name, payload, _ in found + splitter.finish(2)]


@given(
    st.lists(st.tuples(st.sampled_from(["", "delta", "x"]), st.text(max_size=12).map(json.dumps)), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.lists(st.integers(0, 500)),
)
def test_any_split_of_server_sent_events_reads_the_same(
    events: list[tuple[str, str]], end: str, bom: bool, cuts: list[int]
) -> None:
    text = "\ufeff" if bom else ""
    for name, payload in events:
        text += f": a comment{end}" + (f"event: {name}{end}" if name else "") + f"data: {payload}{end}data:2{end}{end}"
    assert split("sse", text.encode(), cuts) == [(name, f"{payload}\n2".encode()) for name, payload in events]


@given(st.lists(st.dictionaries(st.text(max_size=4), st.integers()), max_size=6), st.lists(st.integers(0, 500)))
def test_any_split_of_lines_of_json_reads_the_same(values: list[dict[str, int]], cuts: list[int]) -> None:
    data = "\r\n\n".join(map(json.dumps, values)).encode()
    assert [json.loads(payload) for _, payload in split("ndjson", data, cuts)] == values


@given(st.text(), st.lists(st.integers(0, 500)))
def test_raw_text_is_never_cut_within_a_character(text: str, cuts: list[int]) -> None:
    assert "".join(payload.decode() for _, payload in split("text", text.encode(), cuts)) == text


def test_the_stamp_is_of_the_chunk_that_completed_the_event() -> None:
    splitter = Splitter("sse")
    assert splitter.feed(b"data: 1\n\ndata: 2", 10) == [("", b"1", 10)]
    assert splitter.feed(b"\n\n", 20) == [("", b"2", 20)]
    splitter.feed(b"data: 3", 30)
    assert splitter.finish(40) == []
    assert splitter.cut


@pytest.mark.parametrize(("kind", "data"), [("sse", b"data: a\n"), ("sse", b"x"), ("ndjson", b"x"), ("none", b"x")])
def test_an_event_without_end_does_not_grow(kind: str, data: bytes) -> None:
    splitter = Splitter(kind, largest=1000)  # type: ignore[arg-type]

    def forever() -> None:
        while True:
            splitter.feed(data, 0)

    with pytest.raises(EventTooLarge):
        forever()
