"""Tokens that no server told: the same of the same text, and said to be the same, whoever drives."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perfsuite._core import Events
from perfsuite.loadgen import LoadSpec, drive, driver
from perfsuite.targets.base import Reply, Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.counting import CHUNKS, ESTIMATE
from perfsuite.targets.http.target import ChatTarget
from perfsuite.targets.http.template_file import parse_template
from perfsuite.targets.template import TemplateTarget
from served import Answering, Asked, chunked, delta, serving, sse, whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")

TEXT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
WORDS = TEXT.split()
PIECES = [f"{word} " for word in WORDS]
PAIRS = [a + b for a, b in zip(PIECES[::2], PIECES[1::2], strict=True)]
PROMPT = "hello there, how is it going"
LOAD = LoadSpec(duration_s=60.0, concurrency=2, max_requests=6, request_timeout_s=50.0)

Made = Callable[[str, Path | None], ChatTarget | TemplateTarget]


def by_words(folder: Path) -> Path:
    """A tokenizer whose tokens are words, without a template."""
    pytest.importorskip("tokenizers", reason="pip install perfsuite[tokens]")
    names = {word: number for number, word in enumerate(dict.fromkeys(["?", *WORDS, *PROMPT.split()]))}
    rest = dict.fromkeys(("normalizer", "post_processor", "decoder", "truncation", "padding"))
    described = {
        "version": "1.0",
        "added_tokens": [],
        **rest,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": names, "unk_token": "?"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(described))
    return folder / "tokenizer.json"


def chat(url: str, tokenizer: Path | None) -> ChatTarget:
    address = parse_address(url, "a test")
    return ChatTarget("openai", address, None, {"m": address}, tokenizer=tokenizer)


def template(**stream: str) -> Made:
    def make(url: str, tokenizer: Path | None) -> TemplateTarget:
        table = {"base": url, "request": {"path": "/chat", "json": {"text": "{message}"}}, "stream": stream}
        return TemplateTarget(parse_template(table, "a test"), (), tokenizer)

    return make


def lines(*texts: str) -> bytes:
    return chunked(*(json.dumps({"t": text}).encode() + b"\n" for text in texts), kind="application/x-ndjson")


DOCUMENT = {"choices": [{"message": {"content": TEXT, "reasoning_content": "so, hm"}, "finish_reason": "stop"}]}
SO_FAR = ["".join(PIECES[: n + 1]) for n in range(len(PIECES))]
WHOLE: dict[str, tuple[Made, bytes]] = {
    "a document": (template(kind="none", text="$.t"), whole("200 OK", {"t": TEXT})),
    "plain words": (template(kind="none"), whole("200 OK", TEXT.encode(), kind="text/plain")),
    "openai": (chat, whole("200 OK", DOCUMENT)),
    "openai, of the prompt told": (chat, whole("200 OK", {**DOCUMENT, "usage": {"prompt_tokens": 77}})),
}
STREAMED: dict[str, tuple[Made, bytes]] = {
    "openai, streamed": (chat, chunked(*sse(*map(delta, PIECES), "[DONE]"))),
    "openai, two by two": (chat, chunked(*sse(*map(delta, PAIRS), "[DONE]"))),
    "events": (template(kind="sse", text="$.t"), chunked(*sse(*({"t": piece} for piece in PIECES)))),
    "lines": (template(kind="ndjson", text="$.t"), lines(*PIECES)),
    "growing lines": (template(kind="ndjson", text="$.t", mode="cumulative"), lines(*SO_FAR)),
}


def always(body: bytes) -> Answering:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(whole("200 OK", {"data": [{"id": "m"}]}) if asked.method == "GET" else body)

    return answer


def requests() -> Iterator[Request]:
    while True:
        messages = [{"role": "user", "content": PROMPT}]
        yield Request(message=PROMPT, messages=messages, user_id="u", conversation_id="c")


def driven(make: Made, body: bytes, tokenizer: Path | None, *, wire: bool) -> tuple[Events, list[Reply], int]:
    """What was recorded, what came back, and all tokens as a limit on them has it."""
    events = Events()
    replies: list[Reply] = []

    async def go() -> int:
        async with serving(always(body)) as server:
            target = make(server.url, tokenizer)
            await target.open()
            try:
                delivered = await (drive if wire else driver.drive)(
                    target, requests(), LOAD, events,
                    on_reply=lambda request, reply, failure, row: replies.append(reply) if reply else None,
                )  # fmt: skip
            finally:
                await target.close()
            assert bool(delivered.wire) is wire
            return delivered.tokens

    tokens = asyncio.run(asyncio.wait_for(go(), 60))
    assert len(replies) == events.completed == 6
    assert events.max_in_flight <= 2
    return events, replies, tokens


@pytest.mark.parametrize("named", [False, True], ids=["estimated", "tokenizer"])
@pytest.mark.parametrize("name", [*WHOLE, *STREAMED])
def test_both_drivers_count_the_same_and_say_the_same(name: str, named: bool, tmp_path: Path) -> None:
    make, body = (WHOLE | STREAMED)[name]
    tokenizer = by_words(tmp_path) if named else None
    hidden = 2 if name.startswith("openai") and name in WHOLE else 0  # "so, hm" is no text: never more than estimated
    answer = len(WORDS) + hidden
    prompt = len(PROMPT.split())
    counted_by = f"{tokenizer}, no chat template beside it"
    if not named:
        prompt = -(-len(PROMPT) // 4)
        counted_by = ESTIMATE if name in WHOLE else CHUNKS
        answer = -(-len(TEXT) // 4) + hidden if name in WHOLE else len(PAIRS) if "by two" in name else len(PIECES)
    prompt = 77 if "of the prompt told" in name else prompt
    for wire in (True, False):
        events, replies, tokens = driven(make, body, tokenizer, wire=wire)
        assert {reply.counted_by for reply in replies} == {counted_by}
        assert {(reply.prompt_tokens, reply.completion_tokens) for reply in replies} == {(prompt, answer)}
        for metric, count in (("prompt_tokens", prompt), ("completion_tokens", answer)):
            histogram = events.histogram(metric)
            assert (histogram.count, histogram.min, histogram.max) == (6, count, count)
        assert tokens == 6 * (prompt + answer)
        assert events.estimated == 6  # what raw rows have as "estimated"
        kept = not wire or named or name in WHOLE
        assert all(bool(reply.text) is kept for reply in replies)


def test_texts_are_kept_no_more_where_the_service_tells_its_tokens(tmp_path: Path) -> None:
    told = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
    events, replies, _ = driven(chat, chunked(*sse(delta(TEXT), told, "[DONE]")), by_words(tmp_path), wire=True)
    assert {reply.counted_by for reply in replies} == {"usage"}
    assert events.histogram("completion_tokens").max == 3
    assert events.estimated == 0
    assert replies[0].text == TEXT
    assert replies[-1].text == ""


def test_pieces_of_raw_text_are_counted_as_they_came_where_the_answer_is_kept_too() -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in PIECES:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece.encode()))
            await writer.drain()
            await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")

    events, replies = Events(), list[Reply]()

    async def go() -> None:
        async with serving(answer) as server:
            target = template(kind="text")(server.url, None)
            await target.open()
            try:
                hear = lambda request, reply, failure, row: replies.append(reply) if reply else None  # noqa: E731
                await drive(target, requests(), LOAD, events, on_reply=hear, answers=True)
            finally:
                await target.close()

    asyncio.run(asyncio.wait_for(go(), 60))
    assert [reply.text for reply in replies] == ["".join(PIECES)] * 6
    assert {reply.counted_by for reply in replies} == {CHUNKS}
    assert events.completion_tokens == events.chunks  # whatever the network made one of
    assert events.chunks >= 6
