"""The self check's load over a WebSocket: conversations with the realtime API, as ``run`` drives it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfsuite.targets.base import Request
from perfsuite.targets.realtime.socket import needed
from perfsuite.targets.realtime.target import RealtimeTarget, split_target

if TYPE_CHECKING:
    from perfsuite.targets.base import Failure, Message, Reply

MOST_TURNS = 20
"""Then a conversation begins anew, before its context is what takes the time."""
QUESTION = "how far off is this machine?"


def target(url: str, model: str) -> RealtimeTarget:
    """The server's realtime API.  Raises MissingExtra."""
    needed("a self check over WebSockets")
    address = split_target(f"realtime+{url.replace('http', 'ws', 1)}")
    return RealtimeTarget(address, None, {model: address})


@dataclass(slots=True)
class Conversations:
    """Each has one request under way at most; as many as are needed.

    ``numbers``: of each response that was heard, by the server's id of it, its request's number, which is its row's
    tag."""

    model: str
    tokens: int
    numbers: dict[str, int] = field(default_factory=dict)
    _free: deque[str] = field(default_factory=deque)
    _turns: dict[str, int] = field(default_factory=dict)

    def requests(self) -> Iterator[Request]:
        """Their next messages."""
        for number in itertools.count():
            user = self._free.popleft() if self._free else f"{len(self._turns)}"
            turns = self._turns[user] = self._turns.get(user, 0) + 1
            said: list[Message] = [{"role": "user", "content": QUESTION}] * ((turns - 1) % MOST_TURNS + 1)
            yield Request(
                message=str(number),
                messages=said,
                user_id=user,
                conversation_id=f"{user}.{(turns - 1) // MOST_TURNS}",
                model=self.model,
                max_tokens=self.tokens,
            )

    def heard(self, request: Request, reply: Reply | None, failure: Failure | None, row: object) -> None:
        """One is over: its conversation may go on."""
        self._free.append(request.user_id)
        if reply is not None:
            self.numbers[str(reply.extra["response"])] = int(request.message)
