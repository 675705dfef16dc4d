"""Requests are the same however their bytes arrive, and what is dangerous is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.serve.http import MAX_BODY, MAX_HEAD, BadRequest, Request, RequestParser

PLAIN = b"POST /a?x=1&x=2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-A:  one \r\nx-a: two\r\n\r\nhello"
CHUNKED = (
    b"POST /b HTTP/1.1\r\nhost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
BARE = b"\r\nGET / HTTP/1.0\r\n\r\n"


def parse(pieces: list[bytes]) -> list[Request]:
    parser, found = RequestParser(), []
    for piece in pieces:
        parser.feed(piece)
        while (request := parser.take()) is not None:
            found.append(request)
    assert not parser.partial
    return found


@given(st.lists(st.integers(0, len(PLAIN + CHUNKED + BARE)), max_size=12))
def test_any_split_gives_the_same(cuts: list[int]) -> None:
    data = PLAIN + CHUNKED + BARE
    edges = [0, *sorted(cuts), len(data)]
    first, second, third = parse([data[a:b] for a, b in zip(edges, edges[1:], strict=False)])  # noqa: RUF007
    assert (first.method, first.path, first.body, first.parameter("x")) == ("POST", "/a", b"hello", "2")
    assert first.headers["x-a"] == "one, two"
    assert (second.path, second.body) == ("/b", b"hello")
    assert (third.version, third.keep_alive) == (0, False)


def test_a_target_may_have_its_host_in_front_of_it() -> None:
    for target, path, x in (
        ("http://h:8000/a/b?x=1", "/a/b", "1"),
        ("HTTP://h", "/", None),
        ("http://h?x=http://h/2", "/", "http://h/2"),
        ("/http://h/a", "/http://h/a", None),
        ("/a?x=http://h/b", "/a", "http://h/b"),
    ):
        (one,) = parse([f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()])
        assert (one.path, one.parameter("x")) == (path, x)


def test_byte_by_byte() -> None:
    assert [one.body for one in parse([bytes([byte]) for byte in PLAIN + CHUNKED])] == [b"hello", b"hello"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD, 431),
    ],
)
def test_what_is_refused(data: bytes, status: int) -> None:
    parser = RequestParser()
    parser.feed(data)
    with pytest.raises(BadRequest) as caught:
        parser.take()
    assert caught.value.status == status


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    parser = RequestParser()
    parser.feed(data)
    with contextlib.suppress(BadRequest):
        while parser.take() is not None:
            pass
