"""Cuts a file of JSON into its values without reading it whole.

``json_values`` yields each value as bytes with the line that it begins on: the lines of JSON Lines, the elements of one
top-level array, or values one after the other.  Brackets are counted, not parsed, so that a hostile depth costs nothing
and an element that does not decode does not hide those after it.  At most ``largest`` bytes of a value are held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

CHUNK = 1 << 18
LARGEST = 64 << 20
_SPACE = re.compile(rb"[\s,]*")
_TOKEN = re.compile(rb'["\[\]{}]|[\s,]')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_DEEP = re.compile(rb'["\[\]{}]')


@dataclass(frozen=True, slots=True)
class Unusable:
    """Something in a file that could not be used: where it begins, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of one JSON value."""

    line: int
    data: bytes


def json_lines(stream: BinaryIO, largest: int = LARGEST) -> Iterator[Span | Unusable]:
    """The lines of a stream, blank ones left out."""
    number = 0
    while line := stream.readline(largest + 1):
        number += 1
        if len(line) > largest and not line.endswith(b"\n"):
            while (rest := stream.readline(CHUNK)) and not rest.endswith(b"\n"):
                pass
            yield Unusable(number, f"the line is longer than {largest:,} bytes")
        elif line.strip():
            yield Span(number, line)


def json_values(stream: BinaryIO, largest: int = LARGEST) -> Iterator[Span | Unusable]:
    """The elements of a top-level array; or, where there is none, values one after the other."""
    return _Splitter(stream, largest).values()


class _Splitter:
    def __init__(self, stream: BinaryIO, largest: int) -> None:
        self._read = stream.read
        self._largest = largest
        self._buffer = b""
        self._at = 0  # of the buffer: where the next value begins
        self._line = 1
        self._ended = False

    def _more(self) -> bool:
        """Reads on, as much again as there is, so that a long value is not scanned many times."""
        if self._ended:
            return False
        kept = self._buffer[self._at :]
        data = self._read(max(CHUNK, len(kept)))
        self._ended = not data
        self._buffer, self._at = kept + data, 0
        return not self._ended

    def _advance(self, end: int) -> None:
        self._line += self._buffer.count(b"\n", self._at, end)
        self._at = end

    def _skip(self, pattern: re.Pattern[bytes]) -> bytes:
        """The byte after what the pattern matches; empty at the end of the file."""
        while True:
            match = pattern.match(self._buffer, self._at)
            assert match is not None
            self._advance(match.end())
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._more():
                return b""

    def values(self) -> Iterator[Span | Unusable]:
        in_array = self._skip(_SPACE) == b"["
        if in_array:
            self._advance(self._at + 1)
        while first := self._skip(_SPACE):
            if first == b"]" and in_array:
                self._advance(self._at + 1)
                if self._skip(_SPACE):
                    yield Unusable(self._line, "there is text after the end of the array; it is left out")
                return
            line = self._line
            length = self._length()
            if isinstance(length, str):
                yield Unusable(line, length)
                return  # nothing tells where the next value begins
            yield Span(line, self._buffer[self._at : self._at + length])
            self._advance(self._at + length)
        if in_array:
            yield Unusable(self._line, "the file ends before its array does: it is truncated")

    def _length(self) -> int | str:
        """Bytes of the value that begins here, or why there is no end to it."""
        offset, depth = 0, 0  # the offset is from the value's beginning, which moves when more is read
        while True:
            match = (_DEEP if depth else _TOKEN).search(self._buffer, self._at + offset)
            if match is None:
                offset = len(self._buffer) - self._at
                broken = depth > 0
            else:
                token, offset = match.group(), match.end() - self._at
                if token == b'"':
                    string = _STRING.match(self._buffer, match.start())
                    if string is not None:
                        offset = string.end() - self._at
                        if depth:
                            continue
                        return offset
                    offset -= 1  # the text goes on beyond the buffer
                    broken = True
                elif token in b"[{":
                    depth += 1
                    continue
                elif token in b"]}" and depth > 1:
                    depth -= 1
                    continue
                elif token in b"]}" and depth:
                    return offset
                elif offset == 1:
                    return f"{token.decode()!r} is out of place: this is not JSON"
                else:
                    return offset - 1  # a number or a word, and what ended it
            if len(self._buffer) - self._at > self._largest:
                return f"the value is longer than {self._largest:,} bytes; what follows it was not read"
            if not self._more():
                return "the file ends inside this value: it is truncated" if broken else offset
