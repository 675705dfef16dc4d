"""The fixture ``chat_target``: a chat system, open for one test, asked from plain and from async tests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from perfsuite._core import ERROR_KINDS, Events, Histogram
from perfsuite.configuration import configure
from perfsuite.evidence import Samples
from perfsuite.scratch import scratch_folder
from perfsuite.targets import open_target
from perfsuite.targets.base import Failure, Message, Reply, Request

T = TypeVar("T")

ITSELF = "pytest"
END_S = 10.0
"""For a target to close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the text, its times in milliseconds, and the whole of the target's reply.  ``ttft_ms`` is None
    where the answer came in one piece."""

    text: str
    response_time_ms: float
    ttft_ms: float | None
    reply: Reply


class ChatTarget:
    """A target of ``--target``'s forms, in an event loop of its own: a test of any kind can ask it."""

    def __init__(self, target: str | None, folder: Path | None = None) -> None:
        self.plan = configure({"target": target}, folder=folder, keywords=True)
        self.name = self.plan.target
        self._events = Events(blocks=64)
        self._said: dict[str, list[Message]] = {}
        self._holding = ExitStack()
        self._workdir = self._holding.enter_context(scratch_folder("pytest"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="perfsuite-chat-target", daemon=True)
        self._thread.start()
        try:
            self._target = self._there(open_target(self.plan, self._workdir)).result()
        except BaseException:
            self._end()
            raise

    @property
    def response_time(self) -> Histogram:
        """Milliseconds from the send to the last byte of each answer so far."""
        return self._events.histogram("response_time")

    @property
    def ttft(self) -> Histogram:
        """Milliseconds from the send to the first token of each answer so far."""
        return self._events.histogram("ttft")

    def ask(self, message: str, *, conversation: str = ITSELF, max_tokens: int | None = None) -> Answer:
        """Sends a message and waits for the answer.  A conversation goes on where it was.

        Raises ``perfsuite.targets.base.Failure`` (``kind``: timeout, http_5xx, …) for a request that failed.
        """
        return self._there(self._asked(message, conversation, max_tokens)).result()

    async def aask(self, message: str, *, conversation: str = ITSELF, max_tokens: int | None = None) -> Answer:
        """The same, awaited."""
        return await asyncio.wrap_future(self._there(self._asked(message, conversation, max_tokens)))

    def samples(self) -> Samples:
        """The response times so far, failed requests as slower than any answer."""
        return Samples(
            histogram=self.response_time,
            blocks=self._events.blocks("response_time"),
            failed=self._events.failed,
            longest_wait=self.plan.request_timeout_s * 1000,
        )

    def close(self) -> None:
        """Closes the target and takes its files away."""
        try:
            self._there(self._target.close()).result(END_S)
        finally:
            self._end()

    async def _asked(self, message: str, conversation: str, max_tokens: int | None) -> Answer:
        said = [*self._said.get(conversation, ()), {"role": "user", "content": message}]
        request = Request(
            message=message, messages=said, user_id=ITSELF, conversation_id=conversation, max_tokens=max_tokens
        )
        row = self._events.begin(time.monotonic_ns())
        try:
            async with asyncio.timeout(self.plan.request_timeout_s):
                reply = await self._target.send(request, row)
        except Failure as failure:
            row.end(status=ERROR_KINDS.index(failure.kind))
            raise
        except TimeoutError as error:
            row.end(status=ERROR_KINDS.index("timeout"))
            raise Failure("timeout", f"no answer within {self.plan.request_timeout_s:g} s") from error
        except BaseException:
            row.end(status=ERROR_KINDS.index("target"))
            raise
        row.end(at_ns=reply.ended_ns)
        self._said[conversation] = [*said, {"role": "assistant", "content": reply.text}]
        return Answer(text=reply.text, response_time_ms=row.response_time_ms or 0.0, ttft_ms=row.ttft_ms, reply=reply)

    def _there(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)
        if not self._thread.is_alive():  # one that holds its loop up is left to itself
            self._loop.close()
        self._holding.close()
