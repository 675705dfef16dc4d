"""A conversation's connection: what has been said on it, and one answer at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite.targets.base import Failure, Message
from perfsuite.targets.http.dialect import WrongShape, flat
from perfsuite.targets.realtime.events import items, read, response_create, session_update
from perfsuite.targets.realtime.hearing import Heard

if TYPE_CHECKING:
    from perfsuite._core import Row
    from perfsuite.targets.realtime.events import Spoken
    from perfsuite.targets.realtime.socket import Socket


@dataclass(frozen=True, slots=True)
class Place:
    """What a connection is for: one conversation, with one model, under these headers (which may hold keys)."""

    conversation: str
    model: str | None
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Place({self.conversation}, {self.model})"


class RealtimeSession:
    """A session of the service's.  ``kept``: it has answered before."""

    def __init__(self, socket: Socket, where: str, modality: str) -> None:
        self._socket = socket
        self._where = where
        self._modality = modality
        self._said: list[tuple[object, str]] = []
        self.model: str | None = None
        self.kept = False

    @property
    def closed(self) -> bool:
        """Its connection has ended."""
        return self._socket.closed

    async def begin(self) -> None:
        """Waits until the service says that the session is there, and tells it what answers are to be.  Raises
        Failure."""
        while True:
            messages = await self._socket.take()
            if not messages:
                raise self._socket.ending(self._where, "")
            for payload, _ in messages:
                spoken = self._read(payload)
                if spoken.error is not None:
                    raise Failure("target", f"{self._where}: the service reports an error: {spoken.error}")
                if spoken.ready:
                    self.model = spoken.model
                    self._socket.write([session_update(self._modality)])
                    return

    def continues(self, messages: Sequence[Message]) -> bool:
        """Whether a conversation whose last message is new goes on from what has been said here.  What the service
        answered is as it knows it, whatever the conversation has in its place."""
        return _asked(messages[:-1]) == self._said

    async def answer(
        self, messages: Sequence[Message], max_tokens: int | None, row: Row, sent: Callable[[], int]
    ) -> Heard:
        """Says the last message (of a conversation that is new here, all of them) and hears the answer out.  ``sent``
        is called as it leaves, and tells when that was.  Raises Failure, after which the session is of no more use."""
        socket = self._socket
        data = [*items(messages[-1:] if self.kept else messages), response_create(max_tokens)]
        socket.resting = False
        heard = Heard(row, sent())
        socket.write(data)
        while True:
            came = await socket.take()
            if not came:
                raise socket.ending(self._where, heard.begun)
            for payload, at_ns in came:
                spoken = self._read(payload)
                try:
                    over = heard.take(spoken, len(payload), at_ns)
                except Failure as failure:
                    failure.args = (f"{self._where}: {failure}",)
                    raise
                if over:
                    self._said = _asked(messages)
                    self.kept = socket.resting = True
                    return heard

    @property
    def unanswered(self) -> bool:
        """Not one byte came since the last message was sent."""
        return not self._socket.anything

    def _read(self, payload: bytes) -> Spoken:
        try:
            return read(payload)
        except WrongShape as error:
            raise Failure("malformed", f"{self._where}: {error}") from error

    def close(self) -> None:
        """Ends it in order."""
        self._socket.close()

    def abort(self) -> None:
        """Ends it at once: the service gives up its answer."""
        self._socket.abort()


def _asked(messages: Sequence[Message]) -> list[tuple[object, str]]:
    """What others than the service said."""
    return [(one.get("role"), flat(one.get("content"))) for one in messages if one.get("role") != "assistant"]
