"""Realtime events, read and written."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.targets.base import Failure
from perfsuite.targets.http.dialect import Usage, WrongShape
from perfsuite.targets.realtime.events import NOTHING, Spoken, items, read, response_create, session_update
from perfsuite.targets.realtime.hearing import Heard


def event(kind: str, **more: Any) -> bytes:
    return json.dumps({"type": kind, **more}).encode()


@pytest.mark.parametrize(
    ("kind", "audio"),
    [
        ("response.output_text.delta", False),
        ("response.output_audio_transcript.delta", False),
        ("response.text.delta", False),
        ("response.audio_transcript.delta", False),
        ("response.output_audio.delta", True),
        ("response.audio.delta", True),
    ],
)
def test_deltas_by_their_names_of_today_and_before(kind: str, audio: bool) -> None:
    expected = Spoken(kind="audio", audio_bytes=4) if audio else Spoken(kind="words", text="AAAAAA==")
    assert read(event(kind, delta="AAAAAA==")) == expected
    assert read(event(kind, delta="")) == NOTHING
    with pytest.raises(WrongShape, match="no text in its delta"):
        read(event(kind, delta=3))


def test_a_tools_call_is_hidden() -> None:
    assert read(event("response.function_call_arguments.delta", delta="{")) == Spoken(kind="words", hidden="{")


def test_ends() -> None:
    usage = {"input_tokens": 7, "output_tokens": 2, "input_token_details": {"cached_tokens": 3}}
    output = [{"type": "message", "content": [{"type": "output_audio", "transcript": "so"}]}]
    done = event("response.done", response={"status": "completed", "usage": usage, "output": output})
    assert read(done) == Spoken(end=True, whole="so", usage=Usage(7, 2, 3))
    assert read(event("response.done", response={"status": "incomplete"})) == Spoken(end=True)
    error = {"type": "failed", "error": {"message": "too busy", "code": "rate_limit_exceeded"}}
    failed = read(event("response.done", response={"status": "failed", "status_details": error}))
    assert failed.error is not None
    assert "too busy" in failed.error
    cancelled = read(event("response.done", response={"status": "cancelled", "status_details": {"reason": "turn"}}))
    assert cancelled.error == "it was cancelled by the service: turn"
    with pytest.raises(WrongShape):
        read(event("response.done"))


def test_sessions_and_errors_and_whatever_else() -> None:
    assert read(event("session.created", session={"model": "m", "more": 1})) == Spoken(ready=True, model="m")
    assert read(event("error", error={"message": "no", "code": None})).error == "no"
    assert read(event("error")).error == "an error without words"
    assert read(event("rate_limits.updated", rate_limits=[])) == NOTHING
    for payload in (b"", b"[]", b"{}", b"nonsense", b'{"type": 3}', b"\xff" * 9, b"[" * 100_000):
        with pytest.raises(WrongShape):
            read(payload)


def test_what_is_sent() -> None:
    session = json.loads(session_update("text"))["session"]
    assert session == {"type": "realtime", "output_modalities": ["text"]}
    made = [
        json.loads(one)["item"]
        for one in items(
            [{"role": "system", "content": "s"}, {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]
        )
    ]
    assert [one["role"] for one in made] == ["system", "assistant"]
    assert [one["content"] for one in made] == [
        [{"type": "input_text", "text": "s"}],
        [{"type": "output_text", "text": "a"}],
    ]
    assert json.loads(response_create(None)) == {"type": "response.create"}
    assert json.loads(response_create(5)) == {"type": "response.create", "response": {"max_output_tokens": 5}}


WORDS, SOUND = Spoken(kind="words", text="a"), Spoken(kind="audio", audio_bytes=960)


@pytest.mark.parametrize(
    ("spoken", "tokens"),
    [
        ([WORDS, SOUND, SOUND, WORDS, SOUND], 2),
        ([SOUND, WORDS, SOUND, WORDS, SOUND], 3),
        ([WORDS], 1),
        ([Spoken(end=True, whole="told at the end")], 1),
    ],
)
def test_tokens_are_the_deltas_of_the_first_ones_kind(spoken: list[Spoken], tokens: int) -> None:
    start = time.monotonic_ns()
    row = Events().begin(start)
    heard = Heard(row, start)
    for number, one in enumerate(spoken):
        heard.take(one, 10, start + (number + 1) * 1_000_000)
    assert row.tokens == tokens
    assert row.ttft_ms == pytest.approx(1.0), "the first delta's, whichever it is"
    sounds = [number + 1.0 for number, one in enumerate(spoken) if one.kind == "audio"]
    assert heard.times.get("first_audio") == (pytest.approx(sounds[0]) if sounds else None)
    gaps = [later - earlier for earlier, later in pairwise(sounds)]
    assert heard.times.get("longest_audio_gap") == (pytest.approx(max(gaps)) if gaps else None)
    row.end()


def test_an_answer_is_bounded() -> None:
    row = Events().begin(0)
    heard = Heard(row, 0)
    for _ in range(8):
        heard.take(Spoken(kind="words", text="x" * (1 << 20)), 10, 1)
    with pytest.raises(Failure, match="text is longer") as caught:
        heard.take(WORDS, 10, 1)
    assert caught.value.kind == "too_large"
    with pytest.raises(Failure, match="answer is larger"):
        Heard(row, 0).take(SOUND, 1 << 30, 1)
    row.end()
