"""The realtime target over TLS: a certificate is trusted where SSL_CERT_FILE names it, and nowhere else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perfsuite._core import Events
from perfsuite.errors import PerfsuiteError
from perfsuite.targets.base import Reply, Request
from perfsuite.targets.realtime.target import RealtimeTarget, split_target
from serving import serving

GIVE_UP_S = 60.0
REQUEST = Request(message="hello", messages=[{"role": "user", "content": "hello"}], user_id="u", conversation_id="c")


@asynccontextmanager
async def sealed(folder: Path, *, tls: bool = True) -> AsyncIterator[RealtimeTarget]:
    """A server whose certificate nobody signed, in ``folder``/pem, and a target at its wss:// address."""
    options = {"tls": True, "certificate_out": folder / "pem"} if tls else {}
    async with serving(**options) as server:
        port = server.url.rpartition(":")[2]
        yield RealtimeTarget(split_target(f"realtime+wss://localhost:{port}"))


async def asked(target: RealtimeTarget) -> Reply:
    """An answer."""
    row = Events().begin(time.monotonic_ns())
    try:
        async with asyncio.timeout(GIVE_UP_S):
            return await target.send(REQUEST, row)
    finally:
        row.end()


def test_an_answer_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[Reply]:
        async with sealed(tmp_path) as target:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
            await target.open()
            try:
                return [await asked(target), await asked(target)]
            finally:
                await target.close()

    first, second = asyncio.run(run())
    assert first.text
    assert second.text
    assert first.extra["audio_chunks"] == 10


def test_its_scheme_is_what_was_spoken() -> None:
    assert RealtimeTarget(split_target("realtime+wss://localhost:9")).schemes == ["wss"]


def test_a_certificate_that_nobody_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with sealed(tmp_path) as target:
            await target.open()

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(PerfsuiteError, match="SSL_CERT_FILE"):
        asyncio.run(run())


def test_wss_where_there_is_no_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with sealed(tmp_path, tls=False) as target:
            await target.open()

    monkeypatch.setattr("perfsuite.targets.realtime.target.OPENING_S", 1.0)
    with pytest.raises(PerfsuiteError, match="wss://localhost"):
        asyncio.run(run())
