"""Other ways to a service: TLS, and through a proxy."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from perfsuite.targets.base import Failure
from perfsuite.targets.http.address import Address, parse_address
from perfsuite.targets.http.client import Call, Client, DirectClient
from perfsuite.targets.http.hearing import read_all
from perfsuite.targets.http.proxied import ProxiedClient, client_for, proxy_for
from served import Asked, serving, whole

GET = Call("GET", "/x", (), b"", "none")


async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(whole("200 OK", f"{asked.path} {asked.body.decode()}".encode()))


async def body_of(client: Client, call: Call) -> bytes:
    answer = await client.send(call, lambda: None)
    try:
        return await read_all(answer, 1000)
    finally:
        answer.release()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate: apt-get install openssl")
    made = tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    made.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    return made


def test_tls_and_a_certificate_that_nobody_signed(certificate: Path) -> None:
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate)

    async def go() -> None:
        async with serving(echo, theirs) as server:
            address = parse_address(server.url, "test")
            trusting = DirectClient(address, ssl.create_default_context(cafile=str(certificate)))
            for _ in range(2):
                assert await body_of(trusting, GET) == b"/x "
            assert (trusting.connections, server.connections) == (1, 1)
            await trusting.close()
            wary = DirectClient(address)
            with pytest.raises(Failure, match=r"(?i)certificate verify failed") as caught:
                await wary.send(GET, lambda: None)
            assert caught.value.kind == "tls"

    asyncio.run(go())


def test_tls_where_there_is_none() -> None:
    async def go() -> None:
        async def gibberish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read(10_000)
            writer.close()

        async with await asyncio.start_server(gibberish, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Failure) as caught:
                await DirectClient(Address("https", "127.0.0.1", port)).send(GET, lambda: None)
            assert caught.value.kind == "tls"

    asyncio.run(go())


def test_which_addresses_go_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://user:geheim@proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    far = parse_address("http://far.example", "test")
    assert proxy_for(far) == "http://user:geheim@proxy:3128"
    assert proxy_for(parse_address("https://far.example", "test")) is None
    assert proxy_for(parse_address("http://inside.example", "test")) is None
    assert isinstance(client_for(parse_address("http://127.0.0.1:1", "test")), DirectClient)
    pytest.importorskip("httpx", reason='needs httpx: pip install "perfsuite[proxy]"')
    through = client_for(far)
    assert isinstance(through, ProxiedClient)
    assert "proxy" in through.transport
    assert "geheim" not in through.transport


def test_through_a_proxy() -> None:
    pytest.importorskip("httpx", reason='needs httpx: pip install "perfsuite[proxy]"')
    sent: list[int] = []

    async def cutting(asked: Asked, writer: asyncio.StreamWriter) -> object:
        if asked.path.endswith("/cut"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        if asked.path.endswith(("/cut", "/closed")):
            return False
        await echo(asked, writer)
        return None

    async def kind_of(client: Client, path: str) -> str:
        with pytest.raises(Failure) as caught:
            await body_of(client, Call("GET", path, (), b"", "none"))
        return caught.value.kind

    async def go() -> None:
        async with serving(cutting) as proxy:
            client = ProxiedClient(parse_address("http://far.example/v1", "test"), proxy.url)
            call = Call("POST", "/v1/y", (("X-A", "1"),), b"hi", "none")
            answer = await client.send(call, lambda: sent.append(1))
            assert await read_all(answer, 1000) == b"http://far.example/v1/y hi"
            answer.release()
            assert (answer.status, answer.headers["content-type"], sent) == (200, "application/json", [1])
            assert proxy.asked[0].headers["x-a"] == "1"
            assert await kind_of(client, "/closed") == "closed"
            assert await kind_of(client, "/cut") == "incomplete"
            await client.close()
        nobody = ProxiedClient(parse_address("http://far.example", "test"), "http://127.0.0.1:1")
        assert await kind_of(nobody, "/") == "connect"
        await nobody.close()

    asyncio.run(go())
