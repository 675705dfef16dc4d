"""The stand-in for the model, with what the user's own endpoints answer in place of its own answers.

Memory systems are given one URL and the names of the stand-in's models.  The relay sends their calls on, to one
endpoint for chat and another for embeddings, under the names of the models there, and counts them as the stand-in does.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from perfsuite.reference.embedding import DIMENSION
from perfsuite.serve.canned import read
from perfsuite.serve.http import BadRequest
from perfsuite.serve.standin import StandIn
from perfsuite.serve.standin_counts import Client, Counts
from perfsuite.serve.standin_wire import relayed, texts

if TYPE_CHECKING:
    from perfsuite.serve.connection import Connection
    from perfsuite.serve.http import Request

TIMEOUT_S = 120.0
LARGEST_ANSWER = 64 << 20
KEPT = 3
"""Troubles of a client that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An OpenAI-compatible endpoint (``url`` ends in ``/v1``), the model to ask there, and the key for it."""

    url: str
    model: str
    key: str | None = None

    @property
    def described(self) -> str:
        """Without the key, or what else the URL may hide."""
        parts = urlsplit(self.url)
        return f"{self.model} at {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


class Relay(StandIn):
    """As ``StandIn``, which answers where there is no ``chat`` or no ``embeddings``."""

    def __init__(
        self,
        *,
        chat: Upstream | None = None,
        embeddings: Upstream | None = None,
        dim: int = DIMENSION,
        chat_ms: float = 0.0,
        embedding_ms: float = 0.0,
    ) -> None:
        super().__init__(dim=dim, chat_ms=chat_ms, embedding_ms=embedding_ms)
        self._chat_at = chat
        self._embeddings_at = embeddings
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._troubles: dict[str, list[str]] = {}

    async def close(self) -> None:
        """Ends what is under way, and closes everything."""
        await super().close()
        for line in [line for lines in self._idle.values() for line in lines]:
            line.close()

    def trouble(self, client: str) -> list[str]:
        """What the endpoints refused a client, the first few."""
        return list(self._troubles.get(client, ()))

    async def _answer(
        self, connection: Connection, request: Request, received_ns: int, client: Client, path: str
    ) -> None:
        upstream = self._embeddings_at if path == "/v1/embeddings" else self._chat_at
        if upstream is None or request.method != "POST":
            await super()._answer(connection, request, received_ns, client, path)
            return
        client.begin(received_ns)
        try:
            body = request.json()
            if path == "/v1/embeddings":
                self._count_embeddings(body, client.counts)
                # Some endpoints answer what they can in place of what was asked: the dimension is checked below.
                body.setdefault("dimensions", self.dim)
            else:
                client.counts.chat_calls += 1
                client.counts.chat_characters_in += len(read(body.get("messages")).all)
            body["model"] = upstream.model
            status, kind, data = await asyncio.to_thread(self._ask, upstream, path.removeprefix("/v1"), body)
            if status != 200:
                client.counts.refused += 1
                self._note(client, f"{upstream.model} answered {status}: {_short(data)}")
            elif path == "/v1/embeddings":
                _check_dimension(data, body)
            else:
                client.counts.chat_characters_out += _characters(kind, data)
            await connection.write(relayed(status, kind, data, request.keep_alive))
        except BadRequest as error:
            client.counts.refused += 1
            self._note(client, error.message)
            raise
        except (OSError, http.client.HTTPException) as error:
            client.counts.refused += 1
            text = f"{upstream.described} cannot be asked: {error or type(error).__name__}"
            self._note(client, text)
            raise BadRequest(502, text) from error
        finally:
            client.end(received_ns)

    def _count_embeddings(self, body: dict[str, object], counts: Counts) -> None:
        counts.embedding_calls += 1
        given = texts(body.get("input"))
        counts.embedding_texts += len(given)
        counts.embedding_characters += sum(map(len, given))

    def _note(self, client: Client, text: str) -> None:
        for name, one in self._clients.items():
            if one is client:
                kept = self._troubles.setdefault(name, [])
                if text not in kept and len(kept) < KEPT:
                    kept.append(text)

    def _ask(self, upstream: Upstream, path: str, body: dict[str, object]) -> tuple[int, str, bytes]:
        """In a thread of its own; connections are kept for the next."""
        parts = urlsplit(upstream.url)
        fields = {"Content-Type": "application/json", "Accept": "*/*"}
        if upstream.key:
            fields["Authorization"] = f"Bearer {upstream.key}"
        data = json.dumps(body).encode()
        idle = self._idle.setdefault(upstream.url, [])
        while True:
            try:
                line, reused = idle.pop(), True
            except IndexError:
                kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
                line, reused = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S), False
            try:
                line.request("POST", parts.path + path, data, fields)
                answer = line.getresponse()
                whole = answer.read(LARGEST_ANSWER)
            except (OSError, http.client.HTTPException):
                line.close()
                if reused:
                    continue  # the endpoint had closed a connection that was kept
                raise
            if answer.will_close or not answer.isclosed():
                line.close()
            else:
                idle.append(line)
            return answer.status, answer.getheader("Content-Type") or "application/json", whole


def _check_dimension(data: bytes, body: dict[str, object]) -> None:
    """BadRequest where the answer has no vectors, or of another length than was asked for."""
    try:
        vector = json.loads(data)["data"][0]["embedding"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BadRequest(502, f"the endpoint's answer has no embeddings in it: {_short(data)}") from error
    length = len(base64.b64decode(vector)) // 4 if isinstance(vector, str) else len(vector)
    if length != body["dimensions"]:
        raise BadRequest(
            502,
            f"the endpoint's embeddings have {length} numbers, not the {body['dimensions']} asked for: "
            f"--dimension {length}",
        )


def _characters(kind: str, data: bytes) -> int:
    """Of the text and the tool arguments of an answer; of a stream its events' deltas."""
    try:
        if kind.startswith("text/event-stream"):
            events = [line[5:].strip() for line in data.split(b"\n") if line.startswith(b"data:")]
            values = [json.loads(one) for one in events if one not in (b"", b"[DONE]")]
        else:
            values = [json.loads(data)]
        total = 0
        for value in values:
            for choice in value.get("choices") or ():
                said = choice.get("message") or choice.get("delta") or {}
                total += len(said.get("content") or "")
                for call in said.get("tool_calls") or ():
                    total += len((call.get("function") or {}).get("arguments") or "")
        return total
    except (ValueError, AttributeError, TypeError):
        return 0


def _short(data: bytes) -> str:
    return " ".join(data[:400].decode("utf-8", "replace").split())[:200]
