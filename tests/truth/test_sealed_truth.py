"""Over TLS the engine's figures are the truth on the wire, however late ciphertext is opened."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from perfsuite._core import ERROR_KINDS, Events, Wire, WireReply
from perfsuite.loadgen import LoadSpec, drive, sealed
from perfsuite.loadgen.sealed import ARRIVED, SealedWire, Sealer
from perfsuite.targets.base import Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget

RULES = [("visible", "choices[].delta.content"), ("completion", "usage.completion_tokens"), ("error", "error")]
TOKENS = 20
BLOCKED_S = 0.05
TOLERANCE_MS = 0.5
"""As the plain engine's, tests/unit/test_wire.py."""


@contextmanager
def served(folder: Path, *options: str, secure: bool = True) -> Iterator[tuple[str, ssl.SSLContext]]:
    """``perfsuite serve --tls`` in a process of its own: its URL, and a context that trusts it."""
    certificate = folder / "certificate.pem"
    command = [sys.executable, "-m", "perfsuite", "serve", "--engine", "paced", "--tokens", str(TOKENS), "--for",
               "120s", *options, *(["--tls", "--cert-out", str(certificate)] if secure else [])]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            yield url, ssl.create_default_context(cafile=str(certificate) if secure else None)
        finally:
            process.terminate()


def request(fault: str = "") -> bytes:
    body = json.dumps({"model": "paced", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    more = f"x-perfsuite-fault: {fault}\r\n" if fault else ""
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def engine(url: str, context: ssl.SSLContext, events: Events, **more: Any) -> SealedWire:
    address = parse_address(url, "a test")
    options = {"rules": RULES, "finish": "[DONE]", "marks_end": True, **more}
    return SealedWire(address.host, address.port, events, context=context, **options)


def gather(wire: SealedWire | Wire, count: int) -> list[WireReply]:
    replies: list[WireReply] = []
    while len(replies) < count:
        replies += wire.poll(0.5)
    return replies


def measured(
    folder: Path, streams: int, *options: str, rounds: int = 2
) -> tuple[Events, dict[str, int], dict[str, Any], list[WireReply]]:
    """Some rounds of a closed loop: what the client recorded and counted, and the server's truth."""
    events = Events()
    with served(folder, *options) as (url, context):
        wire = engine(url, context, events, connections=streams)
        for _ in range(streams * rounds):
            assert wire.submit(request())
        wire.start()
        replies = gather(wire, streams * rounds)
        wire.stop()
        with urllib.request.urlopen(f"{url}/truth/summary", context=context) as answer:
            truth = json.load(answer)
    stats = wire.stats()
    assert {(reply.status, reply.why) for reply in replies} == {(0, None)}
    if stats["kernel_reads"] < stats["reads"] or truth["pieces_sent_by_kernel"] < truth["pieces"]:
        pytest.skip("this system does not stamp every packet")
    return events, stats, truth, replies


@pytest.mark.parametrize(("streams", "rounds"), [(1, 32), (32, 2)])
def test_the_truth_on_the_wire(tmp_path: Path, streams: int, rounds: int) -> None:
    """Medians of 64 requests: that of two is one of them, which a busy machine may hold up between two stamps."""
    events, stats, truth, replies = measured(tmp_path, streams, rounds=rounds)
    assert events.max_in_flight == streams
    assert sum(reply.chunks for reply in replies) == rounds * streams * TOKENS
    assert (stats["connects"], stats["handshakes"], stats["reused"]) == (streams, streams, (rounds - 1) * streams)
    for ours, theirs in (("service_ttft", "ttft_ms"), ("itl", "itl_ms")):
        assert events.histogram(ours).quantile(0.5) == pytest.approx(truth[theirs]["p50"], abs=TOLERANCE_MS)
    assert all(reply.kernel_sent and reply.kernel_received for reply in replies)


def blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens ciphertext sleeps, again and again, while some waits."""
    handle = Sealer.handle

    def late(self: Sealer, parcels: list[tuple[int, int, int, bytes]]) -> None:
        if any(what == ARRIVED for what, *_ in parcels):
            time.sleep(BLOCKED_S)
        handle(self, parcels)

    monkeypatch.setattr(Sealer, "handle", late)


def test_a_late_reader_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked(monkeypatch)
    events, stats, truth, _ = measured(tmp_path, 4, rounds=8)
    assert stats["unseal_max_ns"] >= BLOCKED_S * 1e9, "it was not late"
    for ours, theirs in (("service_ttft", "ttft_ms"), ("itl", "itl_ms")):
        assert events.histogram(ours).quantile(0.5) == pytest.approx(truth[theirs]["p50"], abs=TOLERANCE_MS)


def test_stamps_taken_after_opening_would_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: the same, with the clock read when the bytes are open."""
    blocked(monkeypatch)
    arrived = sealed.Session.arrived
    monkeypatch.setattr(sealed.Session, "arrived", lambda self, at_ns, data: arrived(self, time.monotonic_ns(), data))
    events, _, truth, _ = measured(tmp_path, 4)
    wrong = abs(events.histogram("service_ttft").quantile(0.5) - truth["ttft_ms"]["p50"])
    assert wrong > 10 * TOLERANCE_MS
    assert abs(events.histogram("itl").quantile(0.5) - truth["itl_ms"]["p50"]) > TOLERANCE_MS


@pytest.mark.parametrize(
    ("fault", "kind", "chunks"),
    [
        ("cut@5", "incomplete", 5),
        ("reset@5", "reset", 5),
        ("429=3", "http_429", 0),
        ("garbage", "protocol", 0),
        ("stall=200@10", "ok", TOKENS),
        ("slowloris=0.1", "ok", TOKENS),
        ("close_keepalive", "ok", TOKENS),
    ],
)
def test_faults(tmp_path: Path, fault: str, kind: str, chunks: int) -> None:
    events = Events()
    with served(tmp_path, "--model", "paced:5:1") as (url, context):
        wire = engine(url, context, events)
        for one in (fault, fault, ""):
            assert wire.submit(request(one))
        wire.start()
        first, second, after = gather(wire, 3)
        wire.stop()
    for reply in (first, second):
        assert ERROR_KINDS[reply.status] == kind, reply.why
        assert reply.chunks == chunks or fault == "reset@5"
    assert after.status == 0
    if kind == "http_429":
        assert first.retry_after_s == 3
    if fault.startswith("stall"):
        assert events.histogram("max_gap").quantile(0.5) == pytest.approx(201, abs=25)


@pytest.mark.parametrize(
    "spec",
    [LoadSpec(duration_s=1.0, concurrency=8), LoadSpec(duration_s=1.0, rate=40.0, seed=1)],
    ids=["closed", "open"],
)
def test_a_load_of_an_https_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: LoadSpec) -> None:
    """Through the driver, with a certificate that the user vouches for."""

    async def load(url: str) -> Events:
        address = parse_address(url, "a test")
        target = ChatTarget("openai", address, None, {"paced": address})
        message = Request(message="hi", messages=[{"role": "user", "content": "hi"}], user_id="u", conversation_id="c")
        await target.open()
        events = Events()
        try:
            for said in (target.stamps, target.transport):
                assert "TLS: kernel stamps of ciphertext" in said
            delivered = await drive(target, repeat(message), spec, events)
        finally:
            await target.close()
        assert delivered.completed == events.completed > 0
        return events

    with served(tmp_path, "--model", "paced:5:2") as (url, context):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        events = asyncio.run(load(url))
        with urllib.request.urlopen(f"{url}/truth/summary", context=context) as answer:
            truth = json.load(answer)
    assert (events.failed, events.in_flight) == (0, 0)
    if truth["pieces_sent_by_kernel"] < truth["pieces"]:
        pytest.skip("this system does not stamp every packet")
    for ours, theirs in (("service_ttft", "ttft_ms"), ("itl", "itl_ms")):
        assert events.histogram(ours).quantile(0.5) == pytest.approx(truth[theirs]["p50"], abs=TOLERANCE_MS)


@pytest.mark.parametrize("secure", [False, True])
def test_ipv6(tmp_path: Path, secure: bool) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"::1 cannot be had: {error}")
    events = Events()
    with served(tmp_path, "--host", "::1", secure=secure) as (url, context):
        assert url.startswith("https://[::1]:" if secure else "http://[::1]:")
        address = parse_address(url, "a test")
        wire: SealedWire | Wire = (
            engine(url, context, events)
            if secure
            else Wire(address.host, address.port, events, rules=RULES, finish="[DONE]", marks_end=True)
        )
        for _ in range(2):
            assert wire.submit(request())
        wire.start()
        replies = gather(wire, 2)
        wire.stop()
    assert [(reply.status, reply.chunks) for reply in replies] == [(0, TOKENS)] * 2
    stats = wire.stats()
    assert stats["kernel_reads"] in (0, stats["reads"])
