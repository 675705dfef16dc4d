"""Streams, however their bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.targets.http.splitting import EventTooLarge, Splitter
from perfsuite.targets.http.template_file import StreamForm
from perfsuite.targets.http.template_reader import TemplateReader


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


def split(kind: str, data: bytes, cuts: list[int]) -> list[tuple[str, bytes]]:
    splitter = Splitter(kind)  # type: ignore[arg-type]
    found = [one for piece in pieces(data, cuts) for one in splitter.feed(piece, 1)]
    return [(name, payload) for _, name, payload in found + splitter.finish(2)]


@given(
    st.lists(st.tuples(st.sampled_from(["", "delta", "x"]), st.text(max_size=12).map(json.dumps)), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.lists(st.integers(0, 500)),
)
def test_any_split_of_server_sent_events_reads_the_same(
    events: list[tuple[str, str]], end: str, bom: bool, cuts: list[int]
) -> None:
    text = "\ufeff" if bom else ""
    for name, payload in events:
        text += f": a comment{end}" + (f"event: {name}{end}" if name else "") + f"data: {payload}{end}data:2{end}{end}"
    assert split("sse", text.encode(), cuts) == [
        (name or "message", f"{payload}\n2".encode()) for name, payload in events
    ]


@given(st.lists(st.dictionaries(st.text(max_size=4), st.integers()), max_size=6), st.lists(st.integers(0, 500)))
def test_any_split_of_lines_of_json_reads_the_same(values: list[dict[str, int]], cuts: list[int]) -> None:
    data = "\r\n\n".join(map(json.dumps, values)).encode()
    assert [json.loads(payload) for _, payload in split("ndjson", data, cuts)] == values


@given(st.text(), st.lists(st.integers(0, 500)))
def test_raw_text_is_never_cut_within_a_character(text: str, cuts: list[int]) -> None:
    reader = TemplateReader(StreamForm("text"), "")
    assert "".join(reader.classify("", part).text for _, part in split("text", text.encode(), cuts)) == text


def test_the_stamp_is_of_the_chunk_that_completed_the_event() -> None:
    splitter = Splitter("sse")
    assert splitter.feed(b"data: 1\n\ndata: 2", 10) == [(10, "message", b"1")]
    assert splitter.feed(b"\n\n", 20) == [(20, "message", b"2")]
    splitter.feed(b"data: 3", 30)
    assert splitter.finish(40) == []
    assert splitter.cut


@pytest.mark.parametrize(("kind", "data"), [("sse", b"data: a\n"), ("sse", b"x"), ("ndjson", b"x"), ("none", b"x")])
def test_an_event_without_end_does_not_grow(kind: str, data: bytes) -> None:
    splitter = Splitter(kind, largest=1000)  # type: ignore[arg-type]

    def forever() -> None:
        while True:
            splitter.feed(data, 0)

    with pytest.raises(EventTooLarge):
        forever()
