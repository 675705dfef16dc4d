"""Server-sent events as a paced stream brings them, one to a read: ours and the peers'.

"stamped" is the timing path: find out that an event is complete and keep it with its stamp, for later.  "taken" also
makes the Python objects of each.  The peers that decode make an object of each event and keep no stamp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from perfsuite._core import StreamParser

Contenders = dict[str, tuple[Callable[[], object], int]]
EVENTS = 1000
CHUNKS = [
    b'data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"gpt-4o-mini",'
    b'"choices":[{"index":0,"delta":{"content":" word %d"},"finish_reason":null}]}\n\n' % i
    for i in range(EVENTS)
]

missing: dict[str, str] = {}


def split_stamped() -> list[tuple[int, bytes]]:
    """What a careful client does by hand: a buffer, bytes.split, and the stamp kept with each event."""
    buffer, events = b"", []
    for chunk in CHUNKS:
        buffer += chunk
        *whole, buffer = buffer.split(b"\n\n")
        for event in whole:
            events.append((5, event))  # noqa: PERF401
    assert len(events) == EVENTS
    return events


def split_only() -> int:
    """The splitting alone: nothing is kept."""
    buffer, events = b"", 0
    for chunk in CHUNKS:
        buffer += chunk
        parts = buffer.split(b"\n\n")
        buffer = parts.pop()
        events += len(parts)
    assert events == EVENTS
    return events


def stamped() -> int:
    parser = StreamParser()
    feed = parser.feed
    for chunk in CHUNKS:
        feed(chunk, 5)
    assert parser.waiting == EVENTS
    return EVENTS


def taken() -> list[tuple[int, str, bytes]]:
    parser = StreamParser()
    feed = parser.feed
    for chunk in CHUNKS:
        feed(chunk, 5)
    events = parser.take()
    assert len(events) == EVENTS
    return events


def _decoders() -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    try:
        import httpx
        import httpx_sse

        def by_httpx_sse() -> int:
            response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter(CHUNKS))
            events = sum(1 for _ in httpx_sse.EventSource(response).iter_sse())
            assert events == EVENTS
            return events

        found["httpx-sse"] = by_httpx_sse
    except ImportError as error:
        missing["httpx-sse"] = f"not installed: {error}"
    try:
        import sseclient  # type: ignore[import-untyped]

        class Source:
            def __iter__(self) -> Iterator[bytes]:
                return iter(CHUNKS)

            def close(self) -> None: ...

        def by_sseclient() -> int:
            events = sum(1 for _ in sseclient.SSEClient(Source()).events())
            assert events == EVENTS
            return events

        found["sseclient"] = by_sseclient
    except ImportError as error:
        missing["sseclient"] = f"not installed: {error}"
    return found


def contenders() -> Contenders:
    found = {"perfsuite": stamped, "split + stamp": split_stamped, "bytes.split": split_only, **_decoders()}
    return {name: (run, EVENTS) for name, run in found.items()}


def contenders_taken() -> Contenders:
    found = {"perfsuite": taken, "split + stamp": split_stamped, **_decoders()}
    return {name: (run, EVENTS) for name, run in found.items()}


PEERS = [("SSE event, stamped", contenders), ("SSE event, taken", contenders_taken)]
GOALS = {"SSE event, stamped": {"bytes.split": 7.0}}


def measured(benchmark: object, built: Contenders, name: str) -> None:
    if name not in built:
        pytest.skip(missing.get(name, f"{name} does not do this"))
    benchmark.pedantic(built[name][0], rounds=20, warmup_rounds=2)  # type: ignore[attr-defined]


@pytest.mark.benchmark(group="SSE events stamped, 1,000 of them, one to a chunk")
@pytest.mark.parametrize("name", ["perfsuite", "split + stamp", "bytes.split", "httpx-sse", "sseclient"])
def test_stamped(benchmark: object, name: str) -> None:
    measured(benchmark, contenders(), name)


@pytest.mark.benchmark(group="SSE events taken, 1,000 of them, one to a chunk")
@pytest.mark.parametrize("name", ["perfsuite", "split + stamp", "httpx-sse", "sseclient"])
def test_taken(benchmark: object, name: str) -> None:
    measured(benchmark, contenders_taken(), name)
