"""A server of the suite's in this process, and a client of raw streams that hides nothing."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from perfsuite.serve.options import ModelDelays, ServeOptions
from perfsuite.serve.server import Server

QUICK = (ModelDelays("quick", 2, 1),)
GIVE_UP_S = 30.0
CHAT = "/v1/chat/completions"


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Server]:
    """A server; paced and quick where nothing else is said."""
    server = Server(ServeOptions(**{"engine": "paced", "models": QUICK, "tokens": 10, **options}))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


@dataclass
class Heard:
    """An answer as it came: ``raw`` is the body's bytes with their framing, ``body`` without."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    body: bytes = b""
    complete: bool = False
    reset: bool = False

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The data of server-sent events, decoded; what is not JSON as it is."""
        found = []
        for block in self.body.decode("utf-8", "replace").split("\n\n"):
            for line in block.split("\n"):
                if line.startswith("data: "):
                    try:
                        found.append(json.loads(line[6:]))
                    except ValueError:
                        found.append(line[6:])
        return found

    def text(self) -> str:
        """What an OpenAI chat said."""
        return "".join(
            choice["delta"].get("content", "")
            for one in self.events()
            if isinstance(one, dict)
            for choice in one.get("choices", ())
        )


class Client:
    """One connection."""

    def __init__(self, server: Server, context: ssl.SSLContext | None = None) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._context = context

    async def __aenter__(self) -> Client:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname="localhost" if self._context else None
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    async def ask(
        self, path: str = CHAT, body: Any = None, method: str = "POST", headers: Mapping[str, str] | None = None
    ) -> Heard:
        """One request and its answer."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        return await self.hear(no_body=method == "HEAD")

    async def hear(self, *, no_body: bool = False) -> Heard:
        """The next answer, as far as it comes."""
        heard = Heard()
        try:
            await asyncio.wait_for(self._hear(heard, no_body), GIVE_UP_S)
        except asyncio.IncompleteReadError as error:
            heard.raw += error.partial
        except ConnectionResetError:
            heard.reset = True
        return heard

    async def _hear(self, heard: Heard, no_body: bool) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        heard.status = int(head[0].split()[1])
        heard.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        if no_body:
            heard.complete = True
        elif "content-length" in heard.headers:
            heard.body = heard.raw = await self.reader.readexactly(int(heard.headers["content-length"]))
            heard.complete = True
        elif heard.headers.get("transfer-encoding") == "chunked":
            raw, body = bytearray(), bytearray()
            try:
                while not heard.complete:
                    size = await self.reader.readuntil(b"\r\n")
                    raw += size
                    data = await self.reader.readexactly(int(size, 16) + 2)
                    raw += data
                    body += data[:-2]
                    heard.complete = data == b"\r\n"
            finally:
                heard.raw, heard.body = bytes(raw), bytes(body)
        else:
            heard.body = heard.raw = await self.reader.read()
            heard.complete = True


def chat(*texts: str, stream: bool = True, **more: Any) -> dict[str, Any]:
    """The body of an OpenAI chat: messages of user and assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts or ("hello",))]
    return {"messages": messages, "stream": stream, **more}


async def truth(client: Client) -> list[dict[str, Any]]:
    """The rows of /truth."""
    heard = await client.ask("/truth", method="GET")
    return [json.loads(line) for line in heard.body.splitlines()[1:]]
