"""The server of a live page: who gets what, and that nobody is held up."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import pytest

from perfsuite.live import web
from perfsuite.live.board import Board
from perfsuite.live.making import browser_monitor
from perfsuite.live.opening import TOKEN_VARIABLE, opened
from perfsuite.live.web import Resource, Server

TOKEN = "a secret of some length; &=+"
PATIENCE_S = 60.0


@contextmanager
def served(board: Board, token: str | None = None) -> Iterator[Server]:
    listener, taken = opened("127.0.0.1:0", "--live", {} if token is None else {TOKEN_VARIABLE: token})
    files = {
        "": Resource("text/html", b"<p>page"),
        "monitor.js": Resource("text/javascript", b"1", anyone=True),
    }
    server = Server(listener, taken, board, files)
    server.start()
    try:
        yield server
    finally:
        board.end("over")
        server.close()


def asked(server: Server, path: str, method: str = "GET", **fields: str) -> tuple[int, dict[str, str], bytes]:
    port = server.listener.getsockname()[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def states(server: Server) -> Iterator[dict[str, object]]:
    """What a viewer gets, to the end of the stream."""
    connection = http.client.HTTPConnection("127.0.0.1", server.listener.getsockname()[1], timeout=PATIENCE_S)
    try:
        connection.request("GET", "/stream")
        response = connection.getresponse()
        assert response.getheader("content-type") == "text/event-stream"
        for line in response:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
    finally:
        connection.close()


def test_the_page_and_its_headers() -> None:
    with served(Board()) as server:
        status, fields, body = asked(server, "/")
        assert (status, body) == (200, b"<p>page")
        assert "default-src 'none'" in fields["content-security-policy"]
        assert fields["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in fields if name.startswith("access-control")]
        assert asked(server, "/monitor.js")[1]["cross-origin-resource-policy"] == "cross-origin"
        assert asked(server, "/nothing")[0] == 404
        assert asked(server, "/", "POST")[0] == 405
        assert asked(server, "/", "HEAD")[0] == 200
        assert asked(server, "/", Accept_Encoding="gzip")[1]["content-encoding"] == "gzip"


def test_the_browser_monitor_is_for_pages_of_any_origin() -> None:
    script = files("perfsuite.realtime").joinpath("monitor.js").read_bytes()
    made = browser_monitor()
    assert made["perfsuite-monitor.js"].body == script
    assert made["perfsuite-monitor.js"].anyone
    assert not made["realtime"].anyone
    assert b'src="/perfsuite-monitor.js"' in made["realtime"].body


@pytest.mark.parametrize("path", ["/", "/stream", "/monitor.js"])
def test_another_host_s_name_is_refused(path: str) -> None:
    with served(Board()) as server:
        port = server.listener.getsockname()[1]
        status, _, body = asked(server, path, Host=f"evil.test:{port}")
        assert status == 421
        assert b"page" not in body


def test_a_token_is_asked_for_everywhere() -> None:
    with served(Board(), TOKEN) as server:
        for path in ("/", "/stream", "/nothing", "/?token=wrong", "/?token="):
            assert asked(server, path)[0] == 403, path
        assert asked(server, "/", Authorization="Bearer wrong")[0] == 403
        assert asked(server, "/", Cookie="perfsuite_live=wrong")[0] == 403
        assert asked(server, "/", Authorization=f"Bearer {TOKEN}")[0] == 200
        status, fields, _ = asked(server, "/?token=a%20secret%20of%20some%20length%3B%20%26%3D%2B")
        assert (status, fields["location"]) == (302, "/")
        cookie = fields["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert asked(server, "/", Cookie=cookie.partition(";")[0])[2] == b"<p>page"


def test_every_viewer_gets_the_latest_and_the_last() -> None:
    board = Board()
    with served(board) as server:
        viewers = [states(server) for _ in range(3)]
        for viewer in viewers:
            assert next(viewer)["ended"] is None
        board.put(counts={"sent": 7})
        for viewer in viewers:
            assert next(viewer)["counts"] == {"sent": 7}
        board.end("over", counts={"sent": 8})
        for viewer in viewers:
            assert [(state["ended"], state["counts"]) for state in viewer] == [("over", {"sent": 8})]


def test_more_viewers_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST_VIEWERS", 1)
    with served(Board()) as server:
        first = states(server)
        next(first)
        status, fields, _ = asked(server, "/stream")
        assert (status, fields["retry-after"]) == (503, "10")
        first.close()


def test_a_stuck_viewer_holds_up_nobody_and_is_kept_nothing_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "REST_S", 0.0)
    big, rounds = "x" * 1_000_000, 60
    board = Board()
    with served(board) as server:
        stuck = socket.create_connection(server.listener.getsockname())
        stuck.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.listener.getsockname()[1])
        viewer = states(server)
        next(viewer)
        for number in range(rounds):
            board.put(big=big, number=number)
            assert next(viewer)["number"] == number  # the other one gets every state, while the stuck one takes none
        board.end("over")
        assert [state["ended"] for state in viewer] == ["over"]
    assert not server._thread.is_alive()
    taken = 0
    stuck.settimeout(PATIENCE_S)
    try:
        while piece := stuck.recv(1 << 20):
            taken += len(piece)
    except ConnectionResetError:
        pass
    stuck.close()
    assert taken < rounds * len(big) / 2  # what the kernel's buffers held, and no queue behind them
