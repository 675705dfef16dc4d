"""Messages between a run and the process that serves its page: msgpack, each behind its length."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

LENGTH = struct.Struct("!I")
Message = dict[str, Any]


def framed(message: Message) -> bytes:
    """A message as it is sent."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


class Unframed:
    """What has come of messages, in pieces of any size."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[Message]:
        """The messages that are whole with it."""
        self._held += piece
        while len(self._held) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._held)[0]
            if len(self._held) < end:
                return
            message = bytes(memoryview(self._held)[LENGTH.size : end])
            del self._held[:end]
            yield msgspec.msgpack.decode(message)
