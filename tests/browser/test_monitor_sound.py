"""Real sound through Web Audio in Chromium: PCM and WAV from a server, decoded, scheduled and played by the page."""

from __future__ import annotations

import io
import time
import wave
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import pytest

from browsing import NewPage
from perfsuite.serve.realtime import SAMPLES_A_SECOND, Tone
from talking import PAGE, SPEAKER, Answer, event, talking

MONITOR = (files("perfsuite.realtime") / "monitor.js").read_text(encoding="utf-8")
CHUNKS = 8
SAMPLES = SAMPLES_A_SECOND // 10
TONE = Tone(7)
PATIENCE_S = 60.0


def pieces() -> Iterator[str]:
    """A tone in pieces of a tenth of a second, in base64."""
    return (TONE.piece(number * SAMPLES, SAMPLES) for number in range(CHUNKS))


def spoken(connection: Any, message: str | bytes) -> None:
    """An answer's sound as the realtime API has it."""
    for delta in pieces():
        connection.send(event("response.output_audio_transcript.delta", delta="la "))  # written down: no chunk
        connection.send(event("response.output_audio.delta", delta=delta))
    connection.send(event("response.done"))


def in_files(connection: Any, message: str | bytes) -> None:
    """The same as WAV files, each a binary message."""
    for delta in pieces():
        file = io.BytesIO()
        with wave.open(file, "wb") as written:
            written.setnchannels(1)
            written.setsampwidth(2)
            written.setframerate(SAMPLES_A_SECOND)
            written.writeframes(b64decode(delta))
        connection.send(file.getvalue())
    connection.send(event("response.done"))


class Listener:
    """A page that plays what comes, in the ``way`` that the speaker knows by that name."""

    def __init__(self, new_page: NewPage, address: str, way: str) -> None:
        self.visit = new_page()
        self.page = self.visit.page
        self.page.add_init_script(MONITOR)
        self.page.add_init_script(SPEAKER)
        self.page.goto(f"http://{address}/")
        self.page.mouse.click(1, 1)  # sound needs a user who has done something
        self.page.evaluate("([address, way]) => speaker.connect(`ws://${address}/`, way)", [address, way])

    def ask(self) -> None:
        """Asks for an answer and waits until the page has all of it."""
        self.page.evaluate("speaker.ask()")

    def played(self, chunks: int) -> dict[str, Any]:
        """The logs, once the page has played so many to their end."""
        give_up = time.monotonic() + PATIENCE_S
        while (ended := self.page.evaluate("speaker.ended")) < chunks:
            assert time.monotonic() < give_up, f"{ended} of {chunks} chunks were played"
            self.page.wait_for_timeout(50)
        logs: dict[str, Any] = self.page.evaluate("perfsuite.logs()")
        return logs

    def gaps(self) -> list[str]:
        """What the report says of them."""
        return [line for line in self.page.evaluate("perfsuite.analyze()").splitlines() if "Gaps in audio" in line]


@contextmanager
def listening(new_page: NewPage, answer: Answer, way: str) -> Iterator[Listener]:
    with talking(answer, page=PAGE) as talk:
        yield Listener(new_page, talk.address, way)


@pytest.mark.parametrize(("way", "answer"), [("buffers", spoken), ("worklet", spoken), ("decoding", in_files)])
def test_every_chunk_that_is_played_is_counted_once(new_page: NewPage, way: str, answer: Answer) -> None:
    with listening(new_page, answer, way) as listener:
        listener.ask()
        listener.ask()
        logs = listener.played(2 * CHUNKS)
        totals = logs["totals"]
        assert (totals["audioChunksReceived"], totals["audioChunksProcessed"]) == (2 * CHUNKS, 2 * CHUNKS)
        assert logs["samples"][-1]["audioChunksCount"] == 0
        assert len(logs["audio"]) == totals["audioProcessingMs"]["count"] == totals["audioGapMs"]["count"] == 2 * CHUNKS
        assert totals["audioChunksCleaned"] == 0
        # It was sound: the loudest sample is the tone's, and the samples are those that were sent.
        assert listener.page.evaluate("speaker.samples") >= 2 * CHUNKS * SAMPLES
        assert 0.2 < listener.page.evaluate("speaker.loudest") < 0.3
        assert listener.visit.complaints == []


def test_a_sound_of_the_page_s_own_is_no_chunk(new_page: NewPage) -> None:
    """The negative control: an oscillator plays, and what has come goes on to wait."""
    with listening(new_page, spoken, "nothing") as listener:
        listener.ask()
        listener.page.evaluate("speaker.beep()")
        logs = listener.page.evaluate("perfsuite.logs()")
        assert (logs["totals"]["audioChunksReceived"], logs["totals"]["audioChunksProcessed"]) == (CHUNKS, 0)
        assert logs["samples"][-1]["audioChunksCount"] == CHUNKS


def test_sound_that_stands_still_is_a_gap(new_page: NewPage) -> None:
    with listening(new_page, spoken, "buffers") as listener:
        listener.page.evaluate("speaker.context.suspend()")
        listener.ask()
        listener.page.evaluate("new Promise(resolve => setTimeout(resolve, 2500))")
        assert listener.page.evaluate("perfsuite.logs().samples.at(-1).audioChunksCount") == CHUNKS
        listener.page.evaluate("speaker.context.resume()")
        logs = listener.played(CHUNKS)
        assert logs["totals"]["audioGapMs"]["max"] > 2000
        [gap] = listener.gaps()
        assert gap.startswith("- Gaps in audio processing: chunks waited ")
        assert logs["totals"]["audioChunksProcessed"] == CHUNKS


def test_sound_that_goes_on_has_no_gap(new_page: NewPage) -> None:
    """The negative control; a machine that stands still itself gets more than one try."""
    found: list[list[str]] = []
    for _ in range(3):
        with listening(new_page, spoken, "buffers") as listener:
            listener.ask()
            listener.played(CHUNKS)
            found.append(listener.gaps())
        if found[-1] == []:
            return
    pytest.fail(f"gaps each time: {found}")
