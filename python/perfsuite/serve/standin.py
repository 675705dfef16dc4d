"""A stand-in for the model: OpenAI's chat completions and embeddings with stated delays, and counts for each client.

Memory systems ask a model to extract what they keep, and for embeddings.  This one answers at once what canned.py
says, in the form that was asked for; its embeddings are hashed (the same text gives the same vector, in every
process), and it counts what each client asked.  What rests on it shows plumbing, not quality.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from perfsuite.reference.embedding import DIMENSION, embed
from perfsuite.serve import canned
from perfsuite.serve.connection import Connection, Gone
from perfsuite.serve.dialect import encode, whole_number
from perfsuite.serve.http import BadRequest
from perfsuite.serve.listening import Listening
from perfsuite.serve.pacer import Pacer
from perfsuite.serve.stamps import Stamps
from perfsuite.serve.standin_counts import Client, Counts
from perfsuite.serve.standin_wire import failure, packed, streamed, texts, usage, whole

if TYPE_CHECKING:
    from types import TracebackType

    from perfsuite.serve.http import Request

CHAT_MODEL, EMBEDDING_MODEL = "stand-in", "stand-in-embedding"
ANONYMOUS = "anonymous"
OTHERS = "others"
MOST_CLIENTS = 256
"""Further clients are counted together, as ``others``."""
MOST_DIMENSION = 16_384
KEPT_VECTORS = 4096


class StandIn:
    """The stand-in, in the running loop: ``async with StandIn() as model: … model.url_of("mem0")``.

    A client's base URL is ``url_of(name)``: what an OpenAI client takes, ``http://127.0.0.1:PORT/of/NAME/v1``.
    Answers come ``chat_ms`` and ``embedding_ms`` after the request, or as soon after as they are made.  Embeddings have
    the dimension that a request asks for, else ``dim``.
    """

    def __init__(
        self,
        *,
        dim: int = DIMENSION,
        chat_ms: float = 0.0,
        embedding_ms: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if not 1 <= dim <= MOST_DIMENSION:
            raise ValueError(f"dim must be from 1 to {MOST_DIMENSION}, not {dim}")
        if min(chat_ms, embedding_ms) < 0:
            raise ValueError("a delay must not be negative")
        self.dim, self.chat_ms, self.embedding_ms = dim, chat_ms, embedding_ms
        self.stamps = Stamps(receive=False, send=False)
        self.url = ""
        self._place = (host, port)
        self._clients: dict[str, Client] = {}
        self._vectors: OrderedDict[tuple[str, int], list[float]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._created = int(time.time())
        self._serial = 0
        self._listening: Listening | None = None
        self._pacer: Pacer

    async def __aenter__(self) -> StandIn:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listens.  Raises UsageError when the address cannot be had."""
        self._listening = Listening(self, *self._place)
        self._pacer = Pacer()
        self.url = self._listening.url
        self._listening.open()

    async def close(self) -> None:
        """Ends what is under way, and closes everything."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        listening.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        listening.close()
        self._pacer.close()

    def url_of(self, client: str) -> str:
        """The base URL for a client; ``client`` is letters, digits, ``-``, ``_`` and ``.``, and its calls' name."""
        if not client or not all(one.isalnum() or one in "-_." for one in client) or not client.isascii():
            raise ValueError(f"a client's name has letters, digits, - _ and . only, not {client!r}")
        return f"{self.url}/of/{client}/v1"

    def counts(self, client: str) -> Counts:
        """What a client has asked so far, as it stands now; the same object does not change any more."""
        known = self._clients.get(client)
        return Counts(**asdict(known.counts)) if known is not None else Counts()

    @property
    def clients(self) -> list[str]:
        """Who has asked, in the order of their first calls."""
        return list(self._clients)

    def reset(self) -> None:
        """Counts anew.  Calls under way are counted in neither."""
        self._clients.clear()

    # ── the host of connections ──────────────────────────────────────────────────────────────────────────────────────

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        if self._listening is not None:
            self._listening.connections.discard(connection)

    def refuse(self, connection: Connection, error: BadRequest) -> None:
        """Answers what is no request, and closes."""
        try:
            connection.send(failure(error, keep_alive=False))
        except Gone:
            return
        connection.finish(keep_alive=False)

    def handle(self, connection: Connection, request: Request, received_ns: int, by_kernel: bool) -> None:
        """Answers a request."""
        task = asyncio.get_running_loop().create_task(self._give(connection, request, received_ns))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler({"message": "an answer failed", "exception": error, "task": task})

    async def _give(self, connection: Connection, request: Request, received_ns: int) -> None:
        name, path = _client(request.path)
        keep_alive = request.keep_alive
        try:
            if path == "/v1/chat/completions" or path == "/v1/embeddings":
                await self._answer(connection, request, received_ns, self._known(name), path)
            else:
                await connection.write(whole(200, self._page(request, path), keep_alive))
        except Gone:
            return
        except BadRequest as error:
            try:
                await connection.write(failure(error, keep_alive=keep_alive))
            except Gone:
                return
        except BaseException:
            connection.close()  # it may have the half of an answer
            raise
        connection.finish(keep_alive)

    def _known(self, name: str) -> Client:
        if name not in self._clients and len(self._clients) >= MOST_CLIENTS:
            name = OTHERS
        return self._clients.setdefault(name, Client())

    def _page(self, request: Request, path: str) -> object:
        if path == "/counts/reset" and request.method == "POST":
            self.reset()
            return {"reset": True}
        if request.method not in ("GET", "HEAD"):
            raise BadRequest(405, f"{path[:200]} takes GET, not {request.method}")
        if path == "/v1/models":
            names = (CHAT_MODEL, EMBEDDING_MODEL)
            return {
                "object": "list",
                "data": [
                    {"id": name, "object": "model", "created": self._created, "owned_by": "perfsuite"} for name in names
                ],
            }
        if path == "/counts":
            return {name: asdict(client.counts) for name, client in self._clients.items()}
        if path in ("/", "/health"):
            return {"status": "ok", "chat_ms": self.chat_ms, "embedding_ms": self.embedding_ms, "dim": self.dim}
        raise BadRequest(404, f"there is nothing at {path[:200]}: POST /v1/chat/completions or /v1/embeddings")

    async def _answer(
        self, connection: Connection, request: Request, received_ns: int, client: Client, path: str
    ) -> None:
        counts = client.counts
        client.begin(received_ns)
        try:
            if request.method != "POST":
                raise BadRequest(405, f"{path} takes POST, not {request.method}")
            body = request.json()
            if path == "/v1/embeddings":
                delay, data = self.embedding_ms, whole(200, self._embeddings(body, counts), request.keep_alive)
            else:
                delay, data = self.chat_ms, self._chat(body, counts, request.keep_alive)
            due_ns = received_ns + round(delay * 1e6)
            if due_ns > time.monotonic_ns():
                await self._pacer.until(due_ns)
            await connection.write(data)
        except RecursionError as error:
            counts.refused += 1
            raise BadRequest(400, "the body is nested too deeply") from error
        except BadRequest:
            counts.refused += 1
            raise
        finally:
            client.end(received_ns)

    # ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────

    def _chat(self, body: Mapping[str, object], counts: Counts, keep_alive: bool) -> bytes:
        counts.chat_calls += 1
        prompt = canned.read(body.get("messages"))
        counts.chat_characters_in += len(prompt.all)
        said = canned.answer(body)
        self._serial += 1
        written = [(call.name, encode(call.arguments).decode()) for call in said.calls]
        calls = [
            {
                "id": f"call_{self._serial}_{index}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for index, (name, arguments) in enumerate(written)
        ]
        out = len(said.text) + sum(len(arguments) for _, arguments in written)
        counts.chat_characters_out += out
        counts.unknown += not said.known
        message: dict[str, object] = {"role": "assistant", "content": said.text or (None if calls else "")}
        if calls:
            message["tool_calls"] = calls
        spent = usage(len(prompt.all), out)
        answer: dict[str, object] = {
            "id": f"chatcmpl-standin-{self._serial}",
            "object": "chat.completion",
            "created": self._created,
            "model": body.get("model") if isinstance(body.get("model"), str) else CHAT_MODEL,
        }
        finish = "tool_calls" if calls else "stop"
        if body.get("stream") is not True:
            answer |= {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": spent}
            return whole(200, answer, keep_alive)
        return streamed(answer, message, finish, spent, keep_alive)

    def _embeddings(self, body: Mapping[str, object], counts: Counts) -> object:
        counts.embedding_calls += 1
        given = texts(body.get("input"))
        dim = whole_number(body, "dimensions") or self.dim
        if dim > MOST_DIMENSION:
            raise BadRequest(400, f"dimensions must be at most {MOST_DIMENSION}, not {dim}")
        form = body.get("encoding_format", "float")
        if form not in ("float", "base64"):
            raise BadRequest(400, "encoding_format must be float or base64")
        counts.embedding_texts += len(given)
        characters = sum(map(len, given))
        counts.embedding_characters += characters
        vectors = [self._vector(text, dim) for text in given]
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": packed(vector) if form == "base64" else vector}
                for index, vector in enumerate(vectors)
            ],
            "model": body.get("model") if isinstance(body.get("model"), str) else EMBEDDING_MODEL,
            "usage": usage(characters, None),
        }

    def _vector(self, text: str, dim: int) -> list[float]:
        key = (text, dim)
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
            return vector
        vector = list(embed(text, dim))
        self._vectors[key] = vector
        if len(self._vectors) > KEPT_VECTORS:
            self._vectors.popitem(last=False)
        return vector


def _client(path: str) -> tuple[str, str]:
    """The client that a path names, and the rest of it."""
    if path.startswith("/of/"):
        name, slash, rest = path[4:].partition("/")
        if name and slash:
            return name[:80], f"/{rest}"
    return ANONYMOUS, path
