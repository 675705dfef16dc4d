"""The relay between memory systems and the user's own models."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from perfsuite.errors import UsageError
from perfsuite.serve.relay import Relay, Upstream
from perfsuite.suites.memory.models import Models, ModelSettings, upstream


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible endpoint whose embeddings have four numbers."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None, dict[str, Any]]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, self.headers["Authorization"], body))
        status, kind = 200, "application/json"
        if self.path.endswith("/embeddings"):
            data = json.dumps({"data": [{"embedding": [0.5] * 4}]}).encode()
        elif body["messages"][0]["content"] == "refuse":
            status, data = 429, b'{"error": {"message": "too many"}}'
        elif body.get("stream"):
            kind = "text/event-stream"
            data = b'data: {"choices": [{"delta": {"content": "four"}}]}\n\ndata: [DONE]\n\n'
        else:
            data = json.dumps({"choices": [{"message": {"content": "fourteen chars"}}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *about: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[tuple[str, str | None, dict[str, Any]]]]]:
    seen: list[tuple[str, str | None, dict[str, Any]]] = []
    handler = type("Handler", (Endpoint,), {"seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", seen
    server.shutdown()
    server.server_close()
    thread.join()


async def ask(url: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    def post() -> tuple[int, Any]:
        request = urllib.request.Request(f"{url}/{path}", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                data = answer.read()
                return answer.status, data if body.get("stream") else json.loads(data)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(post)


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "stand-in", "messages": [{"role": "user", "content": text}], **more}


def test_calls_are_sent_on_under_the_endpoints_names_and_counted(endpoint: Any) -> None:
    url, seen = endpoint
    settings = ModelSettings(
        chat=Upstream(url=url, model="big", key="secret"), embeddings=Upstream(url=url, model="vectors")
    )

    async def go() -> None:
        async with Models(settings, 4) as models:
            own = models.url_of("mem 0")
            assert await ask(own, "chat/completions", chat("hello")) == (
                200,
                {"choices": [{"message": {"content": "fourteen chars"}}]},
            )
            status, data = await ask(own, "chat/completions", chat("hello", stream=True))
            assert (status, data.count(b"data:")) == (200, 2)
            status, data = await ask(own, "embeddings", {"model": "x", "input": ["ab", "cde"]})
            assert (status, len(data["data"][0]["embedding"])) == (200, 4)
            counted = models.meter("mem 0")
            assert (counted["chat_calls"], counted["embedding_calls"]) == (2, 1)
            assert (counted["prompt_characters"], counted["embedded_characters"]) == (10, 5)
            assert counted["answer_characters"] == len("fourteen chars") + len("four")
            assert counted["wait_ms"] > 0
            assert models.meter("other")["chat_calls"] == 0
            assert not models.rests_on_stand_in("mem 0")
            assert "secret" not in models.described
            assert "big at http://127.0.0.1" in models.described

    asyncio.run(go())
    assert [(path, key, body["model"]) for path, key, body in seen] == [
        ("/v1/chat/completions", "Bearer secret", "big"),
        ("/v1/chat/completions", "Bearer secret", "big"),
        ("/v1/embeddings", None, "vectors"),
    ]
    assert seen[2][2]["dimensions"] == 4


def test_what_the_endpoint_refuses_is_passed_on_and_told(endpoint: Any) -> None:
    url, _ = endpoint

    async def go() -> None:
        one = Upstream(url=url, model="big")
        async with Models(ModelSettings(chat=one, embeddings=one), 8) as models:
            own = models.url_of("a")
            status, _ = await ask(own, "chat/completions", chat("refuse"))
            assert status == 429
            status, data = await ask(own, "embeddings", {"model": "x", "input": "ab"})
            assert status == 502
            assert "--dimension 4" in data["error"]["message"]
            first, second = models.trouble("a")
            assert "big answered 429" in first
            assert "4 numbers, not the 8 asked for" in second

    asyncio.run(go())


def test_an_endpoint_that_is_not_there(endpoint: Any) -> None:
    async def go() -> None:
        gone = Upstream(url="http://127.0.0.1:9/v1", model="big")
        async with Models(ModelSettings(chat=gone), 8) as models:
            status, data = await ask(models.url_of("a"), "chat/completions", chat("hello"))
            assert status == 502
            assert "big at http://127.0.0.1:9/v1 cannot be asked" in data["error"]["message"]
            # Embeddings are the stand-in's still, and quality rests on that.
            status, data = await ask(models.url_of("a"), "embeddings", {"model": "x", "input": "ab"})
            assert (status, len(data["data"][0]["embedding"])) == (200, 8)
            assert models.rests_on_stand_in("a")

    asyncio.run(go())


def test_a_kept_connection_that_was_closed_is_made_anew(endpoint: Any) -> None:
    url, seen = endpoint

    async def go() -> None:
        relay = Relay(chat=Upstream(url=url, model="big"), dim=4)
        await relay.start()
        try:
            own = relay.url_of("a")
            assert (await ask(own, "chat/completions", chat("one")))[0] == 200
            (line,) = relay._idle[url]
            assert line.sock is not None
            line.sock.shutdown(2)
            assert (await ask(own, "chat/completions", chat("two")))[0] == 200
        finally:
            await relay.close()

    asyncio.run(go())
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("text", "url", "model"),
    [
        ("gpt@https://api.example.com/v1", "https://api.example.com/v1", "gpt"),
        ("a/b:c@http://127.0.0.1:8000", "http://127.0.0.1:8000/v1", "a/b:c"),
        ("x@http://h/base/v1/?q=1", "http://h/base/v1", "x"),
    ],
)
def test_endpoints_are_read(text: str, url: str, model: str) -> None:
    found = upstream(text, "--llm", "k")
    assert (found.url, found.model, found.key) == (url, model, "k")


@pytest.mark.parametrize("text", ["gpt", "http://h/v1", "@http://h", "gpt@ftp://h", "gpt@http://"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(UsageError, match=r"--llm .*MODEL@URL"):
        upstream(text, "--llm", None)
