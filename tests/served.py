"""A server on the loopback that sends exactly the bytes that a test says."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from perfsuite._core import Events, Row
from perfsuite.targets.base import Request


@dataclass(eq=False)
class Asked:
    """A request as the server read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


Answering = Callable[[Asked, asyncio.StreamWriter], Awaitable[object]]


@dataclass
class Server:
    url: str
    port: int
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def serving(
    answer: Answering, context: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    """``answer(asked, writer)`` writes what it likes; returning False closes the connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while (asked := await _read(reader)) is not None:
                server.asked.append(asked)
                if await answer(asked, writer) is False:
                    break
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listening = await asyncio.start_server(handle, host, port, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    server = Server(f"{'https' if context else 'http'}://127.0.0.1:{port}", port)
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def beside(answers: Callable[[Asked], bytes]) -> Iterator[Server]:
    """A server in a thread of its own; what it does not know is 404."""
    ready, over = threading.Event(), threading.Event()
    made: list[Server] = []

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answers(asked) or whole("404 Not Found", {"detail": "Not Found"}))

    async def go() -> None:
        async with serving(answer) as server:
            made.append(server)
            ready.set()
            while not over.is_set():  # noqa: ASYNC110 - the event is another thread's
                await asyncio.sleep(0.005)

    thread = threading.Thread(target=asyncio.run, args=(go(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield made[0]
    finally:
        over.set()
        thread.join(10)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def whole(status: str, body: bytes | object, *headers: str, kind: str = "application/json") -> bytes:
    """An answer with a content length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def chunked(*parts: bytes, kind: str = "text/event-stream", end: bool = True) -> bytes:
    """An answer in chunks."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + (b"0\r\n\r\n" if end else b"")


def sse(*events: object, name: str = "") -> list[bytes]:
    """Events of a stream, dicts as JSON."""
    named = f"event: {name}\n" if name else ""
    return [f"{named}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode() for event in events]


def delta(content: object, **more: object) -> dict[str, object]:
    """A chunk of OpenAI chat."""
    return {"choices": [{"index": 0, "delta": {"content": content}, **more}], "model": "m1"}


def a_request(text: str = "hello", **more: object) -> Request:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": text, "pinned": True}]
    return Request(message=text, messages=messages, user_id="u1", conversation_id="c1", **more)  # type: ignore[arg-type]


def a_row() -> tuple[Row, Events]:
    events = Events()
    return events.begin(events.start_ns), events
