"""One answer of a realtime session, delta by delta: the row's tokens, the text, and how its sound came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfsuite.targets.base import Failure
from perfsuite.targets.http.dialect import Usage
from perfsuite.targets.http.failures import LONGEST_MESSAGE
from perfsuite.targets.http.hearing import LARGEST_ANSWER, LARGEST_TEXT

if TYPE_CHECKING:
    from perfsuite._core import Row
    from perfsuite.targets.realtime.events import Kind, Spoken

MILLISECOND = 1e6


class Heard:
    """What one answer says, and when.

    ``row`` gets a token for the answer's first delta, of whichever kind, and for the later ones of that kind: what is
    spoken comes twice, as sound and written down, in two streams that know nothing of each other's gaps.
    """

    def __init__(self, row: Row, sent_ns: int) -> None:
        self._row = row
        self._sent_ns = sent_ns
        self._kind: Kind | None = None
        self._texts: list[str] = []
        self._size = 0
        self._bytes = 0
        self._audio_ns = 0
        self.usage = Usage()
        self.ident = ""
        """The service's, of the response."""
        self.ended_ns = 0
        self.deltas = 0
        self.hidden = 0
        """Characters of tool calls."""
        self.audio_bytes = 0
        self.audio_chunks = 0
        self.times: dict[str, float] = {}
        """Milliseconds: ``first_audio``, from the send to the first sound; ``longest_audio_gap`` between two pieces of
        it; where sound came."""

    @property
    def text(self) -> str:
        """The visible answer so far."""
        return "".join(self._texts)

    @property
    def begun(self) -> str:
        """What of it has come, in words; nothing before the first delta."""
        return f"{self.deltas:,} deltas of the answer" if self.deltas else ""

    def take(self, spoken: Spoken, size: int, at_ns: int) -> bool:
        """Reads an event of ``size`` bytes; whether it ends the answer.  Raises Failure."""
        self._bytes += size
        if self._bytes > LARGEST_ANSWER:
            raise Failure("too_large", f"the answer is larger than {LARGEST_ANSWER >> 20} MiB")
        if spoken.error is not None:
            raise Failure("target", f"the service reports an error: {spoken.error[:LONGEST_MESSAGE]}")
        if spoken.kind is not None:
            self._delta(spoken, spoken.kind, at_ns)
        if not spoken.end:
            return False
        if not self.deltas and spoken.whole:  # it was told at its end and not before
            self.deltas = 1
            self._row.token(1, True, at_ns)
            self._say(spoken.whole)
        self.usage = spoken.usage or self.usage
        self.ident = spoken.ident
        self.ended_ns = at_ns
        return True

    def _delta(self, spoken: Spoken, kind: Kind, at_ns: int) -> None:
        self.deltas += 1
        self._kind = self._kind or kind
        if kind == self._kind:
            self._row.token(1, not spoken.hidden, at_ns)
        if kind == "audio":
            self._sound(spoken.audio_bytes, at_ns)
        self.hidden += len(spoken.hidden)
        self._say(spoken.text)

    def _say(self, text: str) -> None:
        self._size += len(text)
        if self._size > LARGEST_TEXT:
            raise Failure("too_large", f"the answer's text is longer than {LARGEST_TEXT >> 20} Mi characters")
        self._texts.append(text)

    def _sound(self, size: int, at_ns: int) -> None:
        if self.audio_chunks:
            gap = (at_ns - self._audio_ns) / MILLISECOND
            self.times["longest_audio_gap"] = max(gap, self.times.get("longest_audio_gap", 0.0))
        else:
            self.times["first_audio"] = (at_ns - self._sent_ns) / MILLISECOND
        self._audio_ns = at_ns
        self.audio_chunks += 1
        self.audio_bytes += size
