"""A WebSocket server on the loopback whose every word is the test's, and pages that talk to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

Answer = Callable[[ServerConnection, str | bytes], None]
"""What a server does with each message that it gets."""


PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Talk</title><main><h1>Talk</h1></main></html>'


class Talk:
    """A server in threads of its own, of a page and of its WebSocket; ``heard`` is what it got, in order."""

    def __init__(self, answer: Answer, page: str = PAGE, headers: dict[str, str] | None = None) -> None:
        self.page = page
        self.headers = headers or {}
        self.heard: list[str | bytes] = []
        self.connections: list[ServerConnection] = []
        self._answer = answer
        self._server = serve(
            self._serve, "127.0.0.1", 0, max_size=None, compression=None, process_request=self._page, ping_interval=None
        )
        self.address = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _page(self, _connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        body = self.page.encode()
        fields = {"Content-Type": "text/html", "Content-Length": str(len(body)), "Connection": "close", **self.headers}
        return Response(200, "OK", Headers(fields), body)

    def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            for message in connection:
                self.heard.append(message)
                self._answer(connection, message)
        except ConnectionClosed:
            return  # how a connection ends is what these tests are about

    def say(self, message: str | bytes) -> None:
        """Sends to the newest connection."""
        self.connections[-1].send(message)

    def drop(self) -> None:
        """Cuts every connection without a farewell."""
        for connection in self.connections:
            connection.socket.shutdown(2)

    def close(self) -> None:
        """Ends the server and its threads."""
        for connection in self.connections:
            connection.close()
        self._server.shutdown()
        self._thread.join()


@contextmanager
def talking(answer: Answer, **options: Any) -> Iterator[Talk]:
    """A server for as long as the block lasts."""
    talk = Talk(answer, **options)
    try:
        yield talk
    finally:
        talk.close()


def event(kind: str, **more: Any) -> str:
    """A realtime API's event."""
    return json.dumps({"type": kind, **more})


def speaks(chunks: int = 5, characters: int = 4000) -> Answer:
    """Answers ``response.create`` with so many audio deltas and an end, and any other text with itself."""

    def answer(connection: ServerConnection, message: str | bytes) -> None:
        if not isinstance(message, str) or '"response.create"' not in message:
            return
        for _ in range(chunks):
            connection.send(event("response.audio.delta", delta="A" * characters))
        connection.send(event("response.done"))

    return answer


CLIENT = """
window.client = {
  workMs: 0,            // how long the page takes over a message
  chunksProcessed: 99,  // how many of a response's audio chunks it plays
  seen: [],
  connect(address) {
    const socket = this.socket = new WebSocket(`ws://${address}/`);
    let played = 0;
    socket.addEventListener("message", async event => {
      const kind = JSON.parse(event.data).type;
      this.seen.push(kind);
      if (kind === "response.done") { played = 0; this.done?.(); }
      if (this.workMs) await new Promise(wake => setTimeout(wake, this.workMs));
      if (kind === "response.audio.delta" && played++ < this.chunksProcessed) perfsuite.audioChunkProcessed();
    });
    return new Promise((resolve, reject) => { socket.onopen = () => resolve(); socket.onerror = reject; });
  },
  ask() {
    const done = new Promise(resolve => { this.done = resolve; });
    this.socket.send('{"type":"response.create"}');
    return done;
  },
};
"""
"""A page's side of it: plays audio as it comes, or as badly as a test asks for."""
