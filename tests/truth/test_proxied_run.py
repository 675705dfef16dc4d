"""A run whose service is only to be reached through a proxy: clean, by httpx, and the result says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import perfsuite
from forwarding import Place, forwarding

pytest.importorskip("httpx", reason='needs httpx: pip install "perfsuite[proxy]"')

COMMAND = [sys.executable, "-m", "perfsuite"]
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.upper() not in PROXIES} | {
    "PYTHONPATH": str(Path(perfsuite.__file__).parents[1])
}


@contextmanager
def served(*flags: str) -> Iterator[str]:
    """The project's server; its URL."""
    command = [*COMMAND, "serve", "--engine", "paced", "--model", "paced:5:2", "--tokens", "8", "--for", "240s", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


def place(url: str) -> Place:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def run(target: str, output: Path, **environment: str) -> tuple[dict[str, Any], str]:
    """A short run of two phases by the command line: its result (empty where nobody was there), and its stderr."""
    command = [*COMMAND, "run", "baseline", "load", "--target", target, "--duration", "2s", "--concurrency", "4"]
    done = subprocess.run(
        [*command, "-o", str(output), "--request-timeout", "20s"],
        env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, Any] = {}
    for path in output.glob("results-*.json"):
        found = json.loads(path.read_text(encoding="utf-8"))
    return found, done.stderr


def clean(result: dict[str, Any]) -> int:
    """Nothing failed; how many requests that were."""
    assert result["run"]["error"] is None
    assert [phase["name"] for phase in result["phases"]] == ["baseline", "load"]
    for phase in result["phases"]:
        assert phase["errors"] == []
        assert phase["delivered"]["completed"] == phase["delivered"]["requests"] > 0
        assert phase["delivered"]["failed"] == 0
        measured = {one["name"] for one in phase["metrics"] if one["value"] is not None}
        assert {"response_time", "ttft", "itl", "error_rate"} <= measured
    return sum(int(phase["delivered"]["requests"]) for phase in result["phases"])


def test_a_clean_run_through_a_proxy(tmp_path: Path) -> None:
    """The name is known to the proxy alone: without the proxy (the control) no request comes through."""
    with served() as url, forwarding(shop_example=place(url)) as proxy:
        result, _ = run("http://shop.example/v1", tmp_path / "with", HTTP_PROXY=proxy.url)
        sent = clean(result)
        with urllib.request.urlopen(f"{url}/truth/summary", timeout=20) as answer:
            told = json.loads(answer.read())
        assert "httpx" in result["environment"]["stamps"]
        assert "proxy" in result["environment"]["stamps"]
        chats = [line for line in proxy.forwarded if line == "POST http://shop.example/v1/chat/completions"]
        assert len(chats) >= sent
        assert told["ended"] == {"complete": len(chats)}
        through = len(proxy.forwarded)
        result, said = run(
            "http://shop.example/v1", tmp_path / "without", HTTP_PROXY=proxy.url, NO_PROXY="shop.example"
        )
        assert len(proxy.forwarded) == through
        assert (result, "http://shop.example" in said) == ({}, True), said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with the program openssl")
def test_a_clean_run_over_tls_through_a_proxy(tmp_path: Path) -> None:
    """A tunnel, and a certificate that only the system's own file of authorities vouches for, as of a direct run."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example", "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )  # fmt: skip
    with served("--certfile", str(pem), "--keyfile", str(key)) as url, forwarding(shop_example=place(url)) as proxy:
        result, _ = run("https://shop.example", tmp_path / "with", HTTPS_PROXY=proxy.url, SSL_CERT_FILE=str(pem))
        clean(result)
        assert "httpx" in result["environment"]["stamps"]
        assert set(proxy.forwarded) == {"CONNECT shop.example:443"}
        result, said = run("https://shop.example", tmp_path / "wary", HTTPS_PROXY=proxy.url)
        assert (result, "certificate verify failed" in said.lower()) == ({}, True), said
