"""The command: its first line, its end, TLS, and mistakes named."""

from __future__ import annotations

import asyncio
import shutil
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from perfsuite.cli import main
from perfsuite.serve.server import Server
from serving import CHAT, Client, Heard, chat


def started(*flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "perfsuite", "serve", "--engine", "paced", "--model", "m:1:1", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def at(url: str) -> Server:
    return cast(Server, SimpleNamespace(url=url))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_url_first_and_a_clean_end(number: int) -> None:
    async def ask(url: str) -> Heard:
        async with Client(at(url)) as client:
            return await client.ask(CHAT, chat(model="m"))

    with started("--tokens", "7") as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert asyncio.run(ask(url)).body.count(b'"content"') == 8
        process.send_signal(number)
        rest, trouble = process.communicate(timeout=60)
    assert (process.returncode, rest, trouble) == (0, "", "")


def test_a_clean_end_in_mid_stream() -> None:
    async def stop_while_it_streams(url: str, process: subprocess.Popen[str]) -> bytes:
        async with Client(at(url)) as client:
            body = b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
            target = b"/v1/chat/completions?fault=never_end"
            client.writer.write(
                b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (target, len(body), body)
            )
            await client.reader.readuntil(b'"content":')
            process.send_signal(signal.SIGTERM)
            return await asyncio.wait_for(client.reader.read(), 30)

    with started() as process:
        assert process.stdout is not None
        rest = asyncio.run(stop_while_it_streams(process.stdout.readline().strip(), process))
        _, trouble = process.communicate(timeout=60)
    assert not rest.endswith(b"0\r\n\r\n")
    assert (process.returncode, trouble) == (0, "")


def test_it_ends_by_itself() -> None:
    with started("--for", "100ms") as process:
        out, trouble = process.communicate(timeout=60)
    assert out.startswith("http://")
    assert (process.returncode, trouble) == (0, "")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="--tls makes its certificate with the program openssl")
def test_tls_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    pem = tmp_path / "certificate.pem"

    async def ask(url: str, context: ssl.SSLContext) -> tuple[Heard, Heard, Heard]:
        async with Client(at(url), context) as client:
            heard = await client.ask(CHAT, chat(stream=True))
            return heard, await client.ask("/truth/summary", method="GET"), await client.ask("/health", method="GET")

    with started("--tls", "--cert-out", str(pem)) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("https://")
            heard, summary, health = asyncio.run(ask(url, ssl.create_default_context(cafile=str(pem))))
            with pytest.raises(ssl.SSLCertVerificationError):
                asyncio.run(ask(url, ssl.create_default_context()))  # the control: it is really verified
        finally:
            process.terminate()
            _, trouble = process.communicate(timeout=60)
    assert heard.complete
    assert heard.events()[-1] == "[DONE]"
    found = summary.json()
    assert found["ended"] == {"complete": 1}
    assert found["pieces"] == 100
    if health.json()["send_stamps"] == "kernel":
        assert found["pieces_sent_by_kernel"] == 100, "stamps are of the ciphertext's bytes"
    assert b"PRIVATE" not in pem.read_bytes()
    assert (process.returncode, trouble) == (0, "")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--engine", "fast"], "choose reference or paced"),
        (["--model", "a:b"], "NAME:TTFT_MS:PER_TOKEN_MS"),
        (["--model", "a:1:x"], "--model a:1:x"),
        (["--model", "a:1:1", "--model", "a:2:2"], "names must differ"),
        (["--port", "70000"], "too large"),
        (["--tokens", "0"], "too small"),
        (["--fault", "cutt@3"], "did you mean cut"),
        (["--host", "192.0.2.1"], "name a free port"),
        (["--keyfile", "k.pem"], "--keyfile needs --certfile"),
        (["--certfile", "/nowhere.pem"], "No such file"),
        (["--cert-out", "c.pem"], "say --tls"),
    ],
)
def test_mistakes_are_wrong_usage(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--for", "1ms", *flags]) == 2
    assert says in capsys.readouterr().err


def test_without_openssl_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["serve", "--for", "1ms", "--tls"]) == 1
    assert "--certfile" in capsys.readouterr().err
