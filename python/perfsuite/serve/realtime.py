"""OpenAI's realtime API as a server gives it: the events of an answer, one JSON text a line.

Audio is a tone of the server's seed, PCM16 at 24 kHz: 20 ms of it for each token, beside the token written down.
"""

from __future__ import annotations

import math
import random
from array import array
from base64 import b64encode
from collections.abc import Mapping, Sequence

from perfsuite.serve.dialect import Answer, Asked, Dialect, Message, encode
from perfsuite.serve.openai_chat import openai_error

PATH = "/v1/realtime"
MODALITIES = ("audio", "text")
SAMPLES_A_SECOND = 24_000
SAMPLES_A_TOKEN = 480
LOUDNESS = 8000
MOST_GROWN = 200
"""Times its length a piece of growing audio may become: 256 KB as it is sent."""


class Tone:
    """A second of sound that goes on without a seam."""

    def __init__(self, seed: int) -> None:
        hertz = random.Random(f"{seed} tone").randrange(200, 800)  # whole periods in a second
        step = 2 * math.pi * hertz / SAMPLES_A_SECOND
        samples = array("h", (round(LOUDNESS * math.sin(step * n)) for n in range(SAMPLES_A_SECOND)))
        self._pcm = samples.tobytes() * 2

    def piece(self, first: int, samples: int) -> str:
        """So many samples from the ``first`` on, in base64."""
        bytes_a_second = 2 * SAMPLES_A_SECOND
        at = 2 * first % bytes_a_second
        whole, rest = divmod(2 * samples, bytes_a_second)
        return b64encode((self._pcm[:bytes_a_second] * whole if whole else b"") + self._pcm[at : at + rest]).decode()


class Realtime(Dialect):
    """The answers of one session.  ``growing``: each piece of audio is one token's length longer than the last."""

    path = PATH
    prefix = "resp_"

    def __init__(self, modality: str, tone: Tone, per_chunk: int, *, growing: bool = False) -> None:
        self._spoken = modality == "audio"
        self._modality = modality
        self._tone = tone
        self._samples = SAMPLES_A_TOKEN * per_chunk
        self._growing = growing

    def read(self, body: Mapping[str, object]) -> Asked:
        """Not of one body: what is asked lies in the session."""
        raise NotImplementedError

    def whole(self, answer: Answer, text: str) -> object:
        """There is no answer that is not streamed."""
        raise NotImplementedError

    def error(self, status: int, message: str, code: str = "") -> object:
        """As over HTTP."""
        return openai_error(status, message, code)

    # ── the events of an answer ───────────────────────────────────────────────────────────────────────────────────────

    def opening(self, answer: Answer) -> bytes:
        place = self._place(answer)
        return lines(
            answer.ident,
            {"type": "response.created", "response": self._response(answer, "in_progress", None)},
            {"type": "response.output_item.added", **place, "item": self._item(answer, None, "in_progress")},
            {"type": "response.content_part.added", **place, "content_index": 0, "part": self._part("")},
        )

    def piece(self, answer: Answer, text: str, index: int) -> bytes:
        place = {**self._place(answer), "item_id": f"item_{answer.ident}", "content_index": 0}
        if not self._spoken:
            return lines(answer.ident, {"type": "response.output_text.delta", **place, "delta": text}, first=index)
        samples = self._samples * min(index + 1, MOST_GROWN) if self._growing else self._samples
        sound = self._tone.piece(self._samples * index, samples)
        return lines(
            answer.ident,
            {"type": "response.output_audio_transcript.delta", **place, "delta": text},
            {"type": "response.output_audio.delta", **place, "delta": sound},
            first=2 * index,
        )

    def closing(self, answer: Answer, text: str, pieces: int) -> bytes:
        place = self._place(answer)
        of_item = {**place, "item_id": f"item_{answer.ident}", "content_index": 0}
        said: list[dict[str, object]] = [{"type": "response.output_text.done", **of_item, "text": text}]
        if self._spoken:
            said = [
                {"type": "response.output_audio.done", **of_item},
                {"type": "response.output_audio_transcript.done", **of_item, "transcript": text},
            ]
        item = self._item(answer, text, self._status(answer))
        return lines(
            answer.ident,
            *said,
            {"type": "response.content_part.done", **of_item, "part": self._part(text)},
            {"type": "response.output_item.done", **place, "item": item},
            first=2 * pieces,
        )

    def end(self, answer: Answer, text: str, pieces: int) -> bytes:
        return self.done(answer, self._status(answer), text)

    def done(self, answer: Answer, status: str, text: str | None, details: object = None) -> bytes:
        """The last event of an answer, however it ended."""
        response = {**self._response(answer, status, text), "status_details": details}
        return lines(answer.ident, {"type": "response.done", "response": response})

    def failing(self, message: str) -> bytes:
        return failed(message, "server_error")

    def broken(self) -> bytes:
        return b'{"type":"response.output_text.delta","delta":\n'

    # ── what they are made of ─────────────────────────────────────────────────────────────────────────────────────────

    @staticmethod
    def _status(answer: Answer) -> str:
        return "incomplete" if answer.finish == "length" else "completed"

    @staticmethod
    def _place(answer: Answer) -> dict[str, object]:
        return {"response_id": f"resp_{answer.ident}", "output_index": 0}

    def _part(self, text: str) -> dict[str, object]:
        return {"type": "audio", "transcript": text} if self._spoken else {"type": "text", "text": text}

    def _item(self, answer: Answer, text: str | None, status: str) -> dict[str, object]:
        kind = {"type": "output_audio"} if self._spoken else {"type": "output_text"}
        part = {**self._part(text or ""), **kind}
        return {
            "id": f"item_{answer.ident}",
            "object": "realtime.item",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [] if text is None else [part],
        }

    def _response(self, answer: Answer, status: str, text: str | None) -> dict[str, object]:
        usage = answer.usage
        told = {
            "total_tokens": usage.prompt + usage.completion,
            "input_tokens": usage.prompt,
            "output_tokens": usage.completion,
            "input_token_details": {"cached_tokens": usage.cached, "text_tokens": usage.prompt, "audio_tokens": 0},
        }
        return {
            "id": f"resp_{answer.ident}",
            "object": "realtime.response",
            "status": status,
            "output_modalities": [self._modality],
            "output": [] if text is None else [self._item(answer, text, status)],
            "usage": None if text is None else told,
        }


def lines(ident: str, *events: Mapping[str, object], first: int = 0) -> bytes:
    """Events of one answer, each with an id of its own."""
    return b"".join(
        encode({"type": event["type"], "event_id": f"event_{ident}_{event['type']}_{first + index}", **event}) + b"\n"
        for index, event in enumerate(events)
    )


def failed(message: str, kind: str = "invalid_request_error", code: str = "", asked: str | None = None) -> bytes:
    """The event that says what was wrong; ``asked``: with which of the client's events."""
    error = {"type": kind, "code": code or None, "message": message, "param": None, "event_id": asked}
    return encode({"type": "error", "event_id": f"event_error_{asked or kind}", "error": error}) + b"\n"


def session_event(kind: str, ident: str, model: str, modality: str, instructions: str) -> bytes:
    """``session.created`` or ``session.updated``."""
    session = {
        "type": "realtime",
        "object": "realtime.session",
        "id": f"sess_{ident}",
        "model": model,
        "output_modalities": [modality],
        "instructions": instructions,
        "audio": {"output": {"format": {"type": "audio/pcm", "rate": SAMPLES_A_SECOND}}},
    }
    return encode({"type": kind, "event_id": f"event_{ident}_{kind}", "session": session}) + b"\n"


def added(ident: str, number: int, message: Message) -> bytes:
    """``conversation.item.added``."""
    item = {
        "id": f"item_{ident}_{number}",
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": message["role"],
        "content": [{"type": "input_text", "text": message["content"]}],
    }
    event = {"type": "conversation.item.added", "event_id": f"event_{ident}_{number}", "previous_item_id": None}
    return encode({**event, "item": item}) + b"\n"


def modality_of(asked: Mapping[str, object]) -> str | None:
    """What answers are to be, where that is said: ``output_modalities``, or ``modalities`` as it was."""
    found = asked.get("output_modalities", asked.get("modalities"))
    if not isinstance(found, Sequence) or isinstance(found, str):
        return None
    return next((one for one in MODALITIES if one in found), None)
