"""A forwarding proxy in a thread of its own: absolute addresses are passed on, CONNECT is a tunnel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Place = tuple[str, int]


@dataclass
class Proxy:
    """``routes`` says where a host's name leads: only the proxy knows, as inside a company's network.  ``forwarded``
    are the request lines that it was sent."""

    routes: Mapping[str, Place]
    url: str = ""
    forwarded: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection: a tunnel, or requests one after another to one service."""
        beyond: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        back: asyncio.Task[None] | None = None
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, _, rest = head.partition(b"\r\n")
                method, where, version = first.decode("latin-1").split(" ")
                self.forwarded.append(f"{method} {where}")
                tunnel = method == "CONNECT"
                parts = urlsplit(f"//{where}" if tunnel else where)
                place = self.routes.get(parts.hostname or "")
                if place is None:
                    writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 12\r\n\r\nno such host")
                    continue
                if beyond is None:
                    beyond = await asyncio.open_connection(*place)
                if tunnel:
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await asyncio.gather(_pour(beyond[0], writer), _pour(reader, beyond[1]))
                    return
                if back is None:
                    back = asyncio.create_task(_pour(beyond[0], writer))
                path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
                beyond[1].write(f"{method} {path} {version}\r\n".encode("latin-1") + rest)
                beyond[1].write(await reader.readexactly(_length(rest)))
                await beyond[1].drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            if back is not None:
                back.cancel()
            for one in (writer, *(beyond[1:] if beyond is not None else ())):
                one.close()


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """All that comes, as it comes; its end too."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
    except OSError:
        writer.close()


@contextmanager
def forwarding(**routes: Place) -> Iterator[Proxy]:
    """A proxy that is up; a route's ``_`` stands for a dot."""
    proxy = Proxy({name.replace("_", "."): place for name, place in routes.items()})
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def go() -> None:
        over = asyncio.Event()
        listening = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
        proxy.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        loops.append((asyncio.get_running_loop(), over))
        ready.set()
        await over.wait()
        listening.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(go(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield proxy
    finally:
        for loop, over in loops:
            loop.call_soon_threadsafe(over.set)
        thread.join(10)
