"""The wire engine over TLS, against servers in a thread of the test."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from perfsuite._core import ERROR_KINDS, WIRE_PARCELS, Events, Wire, WireReply
from perfsuite.loadgen import sealed
from perfsuite.loadgen.sealed import OPENED, PLAIN, SealedWire, Sealer, Session
from perfsuite.serve import tls
from served import Answering, Asked, chunked, delta, serving, sse, whole

RULES = [("visible", "choices[].delta.content"), ("completion", "usage.completion_tokens")]
USAGE = {"choices": [], "usage": {"completion_tokens": 2}}
ANSWER = chunked(*sse(delta("a"), delta("b"), USAGE, "[DONE]"))
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of this machine's loopback names, and the certificate."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    return tls.context(None, None, path), path


@contextmanager
def loop_running(main: Callable[[Callable[[int], None], asyncio.Event], Any]) -> Iterator[int]:
    """Runs ``main(tell_port, over)`` in a thread of its own; gives the port."""
    ready = threading.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    def tell(port: int) -> None:
        ports.append(port)
        ready.set()

    async def whole() -> None:
        await main(tell, over)
        ending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
            transport.abort()  # whoever still waits for the other side's goodbye
        for _ in range(3):
            await asyncio.sleep(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(whole(),))
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


@contextmanager
def server(answer: Answering, context: ssl.SSLContext | None, host: str = "127.0.0.1") -> Iterator[int]:
    async def main(tell: Callable[[int], None], over: asyncio.Event) -> None:
        async with serving(answer, context, host) as served:
            tell(served.port)
            await over.wait()

    with loop_running(main) as port:
        yield port


async def answer_ok(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER)


def engine(port: int, events: Events, trusted: Path | None, host: str = "127.0.0.1", **more: Any) -> SealedWire:
    context = ssl.create_default_context(cafile=str(trusted)) if trusted else None
    return SealedWire(host, port, events, **{"context": context, "rules": RULES, "finish": "[DONE]", "marks_end": True,
                                             **more})  # fmt: skip


def gather(wire: SealedWire | Wire, count: int) -> list[WireReply]:
    replies: list[WireReply] = []
    while len(replies) < count:
        replies += wire.poll(0.5)
    return replies


def ask(wire: SealedWire, count: int = 1, **more: Any) -> list[WireReply]:
    for tag in range(count):
        assert wire.submit(REQUEST, None, tag, **more)
    wire.start()
    replies = gather(wire, count)
    wire.stop()
    return replies


def test_connections_are_kept(certificate: tuple[ssl.SSLContext, Path]) -> None:
    events = Events()
    with server(answer_ok, certificate[0]) as port:
        wire = engine(port, events, certificate[1], connections=3)
        replies = ask(wire, 30, keep=True)
    for reply in replies:
        assert (reply.status, reply.http_status, reply.why, reply.chunks) == (0, 200, None, 2)
        assert reply.completion_tokens == 2
        assert reply.body == b"".join(sse(delta("a"), delta("b"), USAGE, "[DONE]"))
        assert reply.sent_ns is not None
        assert reply.first_ns is not None
        assert reply.due_ns <= reply.sent_ns <= reply.first_ns <= reply.end_ns
    stats = wire.stats()
    assert (stats["connects"], stats["handshakes"], stats["reused"], stats["ended"]) == (3, 3, 27, 30)
    assert (events.completed, events.failed, events.in_flight) == (30, 0, 0)
    assert stats["handshake_sum_ns"] >= stats["handshake_max_ns"] > 0


def test_a_handshake_is_no_part_of_a_closed_loops_latency(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = Sealer.handle

    def slow(self: Sealer, parcels: list[tuple[int, int, int, bytes]]) -> None:
        if any(what == OPENED for what, *_ in parcels):
            time.sleep(0.2)
        handle(self, parcels)

    monkeypatch.setattr(Sealer, "handle", slow)
    with server(answer_ok, certificate[0]) as port:
        wire = engine(port, Events(), certificate[1])
        (reply,) = ask(wire)
    assert wire.stats()["handshake_max_ns"] >= 200_000_000
    assert reply.sent_ns is not None
    assert reply.sent_ns - reply.due_ns < 200_000_000


def test_a_connection_is_open_when_a_request_is_due(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the request sealed: who seals is blocked when it is due, and it leaves all the same."""
    handle = Sealer.handle
    begun = threading.Event()

    def slow(self: Sealer, parcels: list[tuple[int, int, int, bytes]]) -> None:
        handle(self, parcels)
        if WIRE_PARCELS.index("to_seal") in {what for what, *_ in parcels} and not begun.is_set():
            begun.set()
            self._wire.take(0)  # what was sealed is delivered
            time.sleep(0.3)

    monkeypatch.setattr(Sealer, "handle", slow)
    with server(answer_ok, certificate[0]) as port:
        events = Events()
        wire = engine(port, events, certificate[1])
        due = time.monotonic_ns() + 400_000_000
        assert wire.submit(REQUEST, due)
        wire.start()
        (reply,) = gather(wire, 1)
        wire.stop()
    assert begun.is_set()
    assert reply.status == 0, reply.why
    assert reply.due_ns == due
    assert reply.sent_ns is not None
    assert due <= reply.sent_ns < due + 200_000_000
    stats = wire.stats()
    assert (stats["opened_ahead"], stats["connects"]) == (1, 1)


def test_a_schedule_is_kept(certificate: tuple[ssl.SSLContext, Path]) -> None:
    with server(answer_ok, certificate[0]) as port:
        events = Events()
        wire = engine(port, events, certificate[1], connections=4)
        start = time.monotonic_ns() + 50_000_000
        dues = [start + i * 5_000_000 for i in range(40)]
        for tag, due in enumerate(dues):
            assert wire.submit(REQUEST, due, tag)
        assert wire.submit(REQUEST, start + 3600 * 10**9)
        wire.start()
        replies = gather(wire, 40)
        assert wire.discard() == 1
        wire.stop()
    for reply in replies:
        assert (reply.status, reply.due_ns) == (0, dues[reply.tag])
        assert reply.sent_ns is not None
        assert reply.sent_ns >= reply.due_ns
    assert wire.stats()["connects"] <= 4
    assert wire.stats()["unsent"] == 1


def test_what_is_primed_and_not_due_is_not_sent(certificate: tuple[ssl.SSLContext, Path]) -> None:
    with server(answer_ok, certificate[0]) as port:
        events = Events()
        wire = engine(port, events, certificate[1])
        ask_at = time.monotonic_ns()
        assert wire.submit(REQUEST, ask_at + 120_000_000)
        wire.start()
        while wire.stats()["handshakes"] == 0:
            assert wire.poll(0.005) == []
        wire.stop()
        late = wire.poll()
    stats = wire.stats()
    assert stats["unsent"] + len(late) == 1
    assert events.started == len(late)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (whole("429 Slow Down", {"error": {"message": "later"}}, "Retry-After: 2"), "http_429"),
        (b"nonsense\r\n\r\n", "protocol"),
        (b"", "closed"),
        (ANSWER[:-20], "incomplete"),
        (b"HTTP/1.1 200 OK\r\n\r\ndata: [DONE]\n\n", "ok"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_failures_are_those_of_the_plain_engine(
    certificate: tuple[ssl.SSLContext, Path], answer: bytes, kind: str
) -> None:
    async def fail(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return False

    with server(fail, certificate[0]) as port:
        (reply,) = ask(engine(port, Events(), certificate[1]))
    assert ERROR_KINDS[reply.status] == kind, reply.why


def test_a_certificate_that_nobody_vouches_for(certificate: tuple[ssl.SSLContext, Path]) -> None:
    events = Events()
    with server(answer_ok, certificate[0]) as port:
        wire = engine(port, events, None)
        replies = ask(wire, 2)
    for reply in replies:
        assert ERROR_KINDS[reply.status] == "tls"
        assert reply.why == "the server's certificate was not accepted: self-signed certificate"
        assert reply.sent_ns is None
    assert events.errors == {"tls": 2}
    assert wire.stats()["sent"] == 0


def test_a_certificate_of_another_host(certificate: tuple[ssl.SSLContext, Path]) -> None:
    with server(answer_ok, certificate[0]) as port:
        (wrong,) = ask(engine(port, Events(), certificate[1], server_hostname="example.org"))
        (right,) = ask(engine(port, Events(), certificate[1], server_hostname="localhost"))
    assert ERROR_KINDS[wrong.status] == "tls"
    assert wrong.why is not None
    assert "Hostname mismatch" in wrong.why
    assert "example.org" in wrong.why
    assert right.status == 0


def test_verification_is_off_only_when_the_caller_says_so(certificate: tuple[ssl.SSLContext, Path]) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with server(answer_ok, certificate[0]) as port:
        (reply,) = ask(engine(port, Events(), None, context=context))
    assert reply.status == 0


def test_an_authority_of_the_users_own(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    with server(answer_ok, certificate[0]) as port:
        (reply,) = ask(engine(port, Events(), None))
    assert reply.status == 0, reply.why


def test_a_server_without_tls() -> None:
    with server(answer_ok, None) as port:

        async def greet(tell: Callable[[int], None], over: asyncio.Event) -> None:
            async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await writer.drain()
                writer.close()

            served = await asyncio.start_server(hello, "127.0.0.1", 0)
            tell(served.sockets[0].getsockname()[1])
            await over.wait()
            served.close()

        with loop_running(greet) as other:
            (reply,) = ask(engine(other, Events(), None))
            assert ERROR_KINDS[reply.status] == "tls"
            assert reply.why == "TLS failed: wrong version number"
        wire = engine(port, Events(), None, timeout_s=0.2)  # it waits for a head that never comes
        (reply,) = ask(wire)
    assert ERROR_KINDS[reply.status] in ("tls", "timeout")
    assert "TLS" in (reply.why or "")


def test_a_server_that_ends_the_handshake() -> None:
    async def hang_up(tell: Callable[[int], None], over: asyncio.Event) -> None:
        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.close()

        served = await asyncio.start_server(close, "127.0.0.1", 0)
        tell(served.sockets[0].getsockname()[1])
        await over.wait()
        served.close()

    with loop_running(hang_up) as port:
        (reply,) = ask(engine(port, Events(), None))
    assert ERROR_KINDS[reply.status] == "tls"
    assert "handshake" in (reply.why or "")


def test_a_refused_connection(certificate: tuple[ssl.SSLContext, Path]) -> None:
    with server(answer_ok, certificate[0]) as port:
        pass
    (reply,) = ask(engine(port, Events(), certificate[1]))
    assert ERROR_KINDS[reply.status] == "connect"
    assert reply.error_number


def test_a_server_that_closes_after_each_answer(certificate: tuple[ssl.SSLContext, Path]) -> None:
    async def once(asked: Asked, writer: asyncio.StreamWriter) -> bool:
        writer.write(ANSWER)
        return False

    events = Events()
    with server(once, certificate[0]) as port:
        wire = engine(port, events, certificate[1], connections=2)
        replies = ask(wire, 20)
    assert {reply.status for reply in replies} == {0}
    assert (events.completed, events.failed) == (20, 0)
    stats = wire.stats()
    assert stats["stale_retries"] + stats["stale_closed"] >= 18
    assert stats["resumed"] > 0, "a later connection resumes the session of an earlier one"


@contextmanager
def dribbling(context: ssl.SSLContext, answers: list[list[bytes]], cut: int = 1) -> Iterator[int]:
    """A server that seals each part of its answers by itself and sends ciphertext ``cut`` bytes at a time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context.wrap_bio(incoming, outgoing, server_side=True)

        async def flush() -> None:
            data = outgoing.read()
            for at in range(0, len(data), cut):
                writer.write(data[at : at + cut])
                await writer.drain()
                await asyncio.sleep(0)

        async def until(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    await flush()
                    data = await reader.read(65536)
                    if not data:
                        raise ConnectionResetError from None
                    incoming.write(data)

        with suppress(ConnectionError, ssl.SSLError):
            await until(secure.do_handshake)
            await flush()
            for parts in answers:
                await until(lambda: secure.read(65536))
                for part in parts:
                    secure.write(part)
                await flush()
        writer.close()

    async def main(tell: Callable[[int], None], over: asyncio.Event) -> None:
        served = await asyncio.start_server(serve, "127.0.0.1", 0)
        for sock in served.sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tell(served.sockets[0].getsockname()[1])
        await over.wait()
        served.close()

    with loop_running(main) as port:
        yield port


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 22, 1 << 20])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_records_cut_anywhere(tmp_path: Path, cut: int, version: ssl.TLSVersion) -> None:
    path = tmp_path / "certificate.pem"
    context = tls.context(None, None, path)
    context.maximum_version = version
    parts = [ANSWER[at : at + 50] for at in range(0, len(ANSWER), 50)]
    with dribbling(context, [parts, [ANSWER]], cut) as port:
        events = Events()
        replies = ask(engine(port, events, path), 2)
    for reply in replies:
        assert (reply.status, reply.why, reply.chunks, reply.completion_tokens) == (0, None, 2, 2)
    assert events.histogram("itl").count == 2


def test_several_tokens_to_a_record_share_its_stamp(certificate: tuple[ssl.SSLContext, Path]) -> None:
    """And to a read: two records that came together as well."""
    many = chunked(*sse(*(delta(str(k)) for k in range(10)), "[DONE]"))
    with dribbling(certificate[0], [[many[:300], many[300:]]], 1 << 20) as port:
        events = Events()
        wire = engine(port, events, certificate[1])
        (reply,) = ask(wire)
    stats = wire.stats()
    assert (reply.status, reply.chunks) == (0, 10)
    assert events.histogram("itl").count == 9
    assert stats["coalesced_chunks"] in (8, 9)  # one read, or two where the kernel had it so
    assert 1 <= stats["coalesced_reads"] <= 2


def test_an_answer_larger_than_a_record_and_than_a_read(certificate: tuple[ssl.SSLContext, Path]) -> None:
    body = b"data: " + b"x" * 3_000_000 + b"\n\n"

    async def large(asked: Asked, writer: asyncio.StreamWriter) -> None:
        assert len(asked.body) == 3 << 20
        writer.write(chunked(body))

    with server(large, certificate[0]) as port:
        wire = engine(
            port, Events(), certificate[1], rules=(), finish=None, marks_end=False, max_event=4 << 20, connections=2
        )
        sent = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (3 << 20) + b"y" * (3 << 20)
        for _ in range(4):
            assert wire.submit(sent, None, 0, True)
        wire.start()
        replies = gather(wire, 4)
        wire.stop()
    assert [(reply.status, reply.why, reply.body == body) for reply in replies] == [(0, None, True)] * 4


def test_time_outs(certificate: tuple[ssl.SSLContext, Path]) -> None:
    async def never(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with server(never, certificate[0]) as port:
        (reply,) = ask(engine(port, Events(), certificate[1], timeout_s=0.2))
    assert ERROR_KINDS[reply.status] == "timeout"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (reply,) = ask(engine(silent.getsockname()[1], Events(), certificate[1], timeout_s=0.1))
    assert (ERROR_KINDS[reply.status], reply.why) == ("timeout", "no end of the TLS handshake within the time-out")


def test_stopping_leaves_nothing_behind(certificate: tuple[ssl.SSLContext, Path]) -> None:
    async def never(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    def threads() -> int:
        return sum(thread.name == "perfsuite-tls" for thread in threading.enumerate())

    files = len(os.listdir("/proc/self/fd"))
    with server(never, certificate[0]) as port:
        for how in ("stopped", "dropped", "never started"):
            events = Events()
            wire = engine(port, events, certificate[1], connections=4)
            for _ in range(8):
                assert wire.submit(REQUEST)
            if how != "never started":
                wire.start()
                while events.in_flight < 4:
                    wire.poll(0.1)
            if how == "stopped":
                wire.stop()
                wire.stop()
                assert {ERROR_KINDS[reply.status] for reply in wire.poll()} == {"cancelled"}
                assert wire.stats()["unsent"] == 4
                assert not wire.submit(REQUEST)
            del wire
            gc.collect()
            for _ in range(500):
                if threads() == 0:
                    break
                time.sleep(0.01)
            assert threads() == 0
            gc.collect()
            assert events.cancelled == (0 if how == "never started" else 4)
            assert events.in_flight == 0
    assert len(os.listdir("/proc/self/fd")) <= files


def test_what_ends_the_thread_is_told(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Sealer, parcels: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(Sealer, "handle", broken)
    with server(answer_ok, certificate[0]) as port:
        wire = engine(port, Events(), certificate[1])
        assert wire.submit(REQUEST)
        wire.start()
        with pytest.raises(RuntimeError, match="does TLS has failed"):
            gather(wire, 1)
        wire.stop()


def test_without_memory_a_connection_ends_and_not_the_load(
    certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    class Scarce(Session):
        def __init__(self, *arguments: Any) -> None:
            nonlocal made
            made += 1
            if made == 1:
                raise MemoryError
            super().__init__(*arguments)

    monkeypatch.setattr(sealed, "Session", Scarce)
    with server(answer_ok, certificate[0]) as port:
        events = Events()
        first, second = ask(engine(port, events, certificate[1]), 2)
    assert (ERROR_KINDS[first.status], second.status) == ("cancelled", 0)
    assert first.why == "this client had no memory for TLS"
    assert (events.cancelled, events.completed) == (1, 1)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="server_hostname"):
        SealedWire("127.0.0.1", 9, Events(), server_hostname="")
    plain = Wire("127.0.0.1", 9, Events())
    with pytest.raises(RuntimeError, match="not sealed"):
        plain.take()
    with pytest.raises(ValueError, match="not sealed"):
        plain.give(PLAIN, 1, 0, b"")
    wire = Wire("127.0.0.1", 9, Events(), sealed=True)
    assert wire.take(0) == []
    wire.give(PLAIN, 1 << 40, 0, b"to nobody")
    for wrong in (OPENED, 99, -1):
        with pytest.raises(ValueError, match="no such parcel"):
            wire.give(wrong, 1, 0, b"")
    with pytest.raises(TypeError, match="bytes"):
        wire.give(PLAIN, 1, 0, "x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout_s"):
        wire.take(-1.0)
    wire.stop()
    assert wire.take() is None


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.parametrize("secure", [False, True])
def test_ipv6(certificate: tuple[ssl.SSLContext, Path], secure: bool) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"::1 cannot be had: {error}")
    with server(answer_ok, certificate[0] if secure else None, "::1") as port:
        if secure:
            replies = ask(engine(port, Events(), certificate[1], host="::1"), 3)
        else:
            wire = Wire("::1", port, Events(), rules=RULES, finish="[DONE]")
            for _ in range(3):
                assert wire.submit(REQUEST)
            wire.start()
            replies = gather(wire, 3)
            wire.stop()
    assert [(reply.status, reply.chunks) for reply in replies] == [(0, 2)] * 3
