"""What the server tells besides answers: models, health, metrics and the truth."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perfsuite.serve.dialect import encode
from perfsuite.serve.http import LAST_CHUNK, BadRequest, chunk, head
from perfsuite.serve.openai_chat import openai_error

if TYPE_CHECKING:
    from perfsuite.serve.connection import Connection
    from perfsuite.serve.dialect import Dialect
    from perfsuite.serve.http import Request
    from perfsuite.serve.server import Server

PIECE_BYTES = 256 * 1024


class Counts:
    """What /metrics counts, since the start."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.in_flight = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.refused_connections = 0

    def request(self, path: str, status: int) -> None:
        """A request has ended."""
        key = (path, status)
        self.requests[key] = self.requests.get(key, 0) + 1


def resident_bytes() -> int:
    """Resident memory of this process."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Pages:
    """The pages of a server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def give(self, connection: Connection, request: Request) -> int:
        """Answers a request that is no chat; returns the status."""
        try:
            body = self._body(request)
        except BadRequest as error:
            await connection.write(self.failure(error, keep_alive=request.keep_alive))
            return error.status
        kind, data = body
        fields = [("Content-Type", kind), ("Connection", "keep-alive" if request.keep_alive else "close")]
        if isinstance(data, bytes):
            fields.append(("Content-Length", str(len(data))))
            await connection.write(head(200, fields) + (b"" if request.method == "HEAD" else data))
        else:
            await self._stream(connection, request, fields, data)
        return 200

    async def _stream(
        self, connection: Connection, request: Request, fields: list[tuple[str, str]], lines: Iterable[bytes]
    ) -> None:
        """A long body in pieces, for which the streams under way do not wait."""
        import asyncio

        frame = chunk if request.version else bytes
        if request.version:
            fields.append(("Transfer-Encoding", "chunked"))
        else:
            request.keep_alive = False
        await connection.write(head(200, fields))
        piece = bytearray()
        for line in lines:
            piece += line
            if len(piece) >= PIECE_BYTES:
                await connection.write(frame(bytes(piece)))
                piece.clear()
                await asyncio.sleep(0)
        await connection.write((frame(bytes(piece)) if piece else b"") + (LAST_CHUNK if request.version else b""))

    def failure(
        self, error: BadRequest, *, keep_alive: bool, dialect: Dialect | None = None, ident: str | None = None
    ) -> bytes:
        """An error as an answer, in the dialect's form."""
        write = dialect.error if dialect is not None else openai_error
        body = encode(write(error.status, error.message, error.code))
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        fields.append(("Connection", "keep-alive" if keep_alive else "close"))
        if ident is not None:
            fields.append(("X-Request-Id", ident))
        if error.retry_after_s is not None:
            fields.append(("Retry-After", f"{max(1, round(error.retry_after_s))}"))
        if error.status == 405:
            fields.append(("Allow", "POST"))
        return head(error.status, fields) + body

    def _body(self, request: Request) -> tuple[str, bytes | Iterable[bytes]]:
        server, path = self._server, request.path
        if path.startswith("/truth"):
            server.collect()
        if path == "/truth/reset":
            self._only(request, "POST")
            server.reset()
            return self._json({"reset": True})
        known = {
            "/": self._health, "/health": self._health, "/v1/models": self._models, "/api/tags": self._tags,
            "/api/version": self._version, "/truth/summary": self._summary,
        }  # fmt: skip
        if path in known:
            self._only(request, "GET")
            return self._json(known[path]())
        if path == "/metrics":
            self._only(request, "GET")
            return "text/plain; version=0.0.4; charset=utf-8", self._metrics()
        if path == "/truth":
            self._only(request, "GET")
            since = request.parameter("since") or "0"
            if not (since.isascii() and since.isdigit() and len(since) < 19):
                raise BadRequest(400, "since must be the number of a request, such as /truth?since=100")
            return "application/x-ndjson", server.truth.rows(int(since), request.parameter("id"))
        raise BadRequest(404, f"there is nothing at {path[:200]}; see the list at /")

    @staticmethod
    def _only(request: Request, method: str) -> None:
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            raise BadRequest(405, f"{request.path} takes {method}, not {request.method}")

    @staticmethod
    def _json(value: object) -> tuple[str, bytes]:
        return "application/json", encode(value) + b"\n"

    def _health(self) -> object:
        from perfsuite import __version__

        server = self._server
        return {
            "status": "ok",
            "server": f"perfsuite {__version__}",
            "engine": server.options.engine,
            "models": [
                {"name": model.name, "ttft_ms": model.ttft_ms, "token_ms": model.token_ms} for model in server.models
            ],
            "tokens": server.options.tokens,
            "tokens_per_chunk": server.options.tokens_per_chunk,
            "receive_stamps": "kernel" if server.stamps.receive else "process",
            "send_stamps": "kernel" if server.stamps.send else "process",
            "precise_timer": server.pacer.precise,
            "clock_steps": server.stamps.steps,
            "paths": [
                "POST /v1/chat/completions", "POST /v1/responses", "POST /v1/messages", "POST /api/chat",
                "GET /v1/realtime (WebSocket)",
                "GET /v1/models", "GET /api/tags", "GET /health", "GET /metrics",
                "GET /truth", "GET /truth/summary", "POST /truth/reset",
            ],
        }  # fmt: skip

    def _models(self) -> object:
        about = {"object": "model", "created": 0, "owned_by": "perfsuite"}
        return {"object": "list", "data": [{"id": model.name, **about} for model in self._server.models]}

    def _tags(self) -> object:
        return {"models": [{"name": model.name, "model": model.name, "size": 0} for model in self._server.models]}

    @staticmethod
    def _version() -> object:
        return {"version": "0.5.0"}

    def _summary(self) -> object:
        server = self._server
        stamps = {
            "requests_received_by_kernel": server.stamps.received_kernel,
            "requests_received_by_process": server.stamps.received_process,
            "clock_steps": server.stamps.steps,
        }
        return {**server.truth.summary(), "stamps": stamps, "now_ns": time.monotonic_ns()}

    def _metrics(self) -> bytes:
        server, counts = self._server, self._server.counts
        lines = ["# HELP perfsuite_requests_total Requests that have ended.", "# TYPE perfsuite_requests_total counter"]
        for (path, status), number in sorted(counts.requests.items()):
            name = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            lines.append(f'perfsuite_requests_total{{path="{name}",status="{status}"}} {number}')
        for name, kind, text, value in (
            ("perfsuite_requests_in_flight", "gauge", "Chat requests under way.", counts.in_flight),
            ("perfsuite_connections", "gauge", "Open connections.", server.connections),
            ("perfsuite_prompt_tokens_total", "counter", "Tokens of prompts.", counts.prompt_tokens),
            ("perfsuite_completion_tokens_total", "counter", "Tokens of answers.", counts.completion_tokens),
            ("perfsuite_refused_connections_total", "counter", "Failed accepts.", counts.refused_connections),
            ("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes()),
            ("process_cpu_seconds_total", "counter", "Processor time.", round(time.process_time(), 6)),
        ):
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")
