"""The project's own server as a process of its own, and the truth that it tells."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfsuite import pythonpath
from perfsuite.errors import PerfsuiteError
from perfsuite.scratch import scratch_folder

STARTS_S = 20.0
ENDS_S = 5.0
ANSWERS_S = 60.0
FIRST_MS = 20.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the server knows of one request: ns from its receipt to the send of each chunk.  ``kernel``: every stamp is
    the kernel's."""

    received_ns: int
    offsets_ns: list[int]
    complete: bool
    kernel: bool


class Served:
    """A server that is up.  ``certificate`` is what to trust when it speaks TLS; ``spoken``: it is to be spoken to in
    realtime events, over a WebSocket."""

    def __init__(self, url: str, certificate: Path | None, *, spoken: bool = False) -> None:
        self.url = url
        self.certificate = certificate
        self.spoken = spoken

    def context(self) -> ssl.SSLContext | None:
        """What a client of it needs for TLS."""
        if self.certificate is None:
            return None
        made = ssl.create_default_context(cafile=str(self.certificate))
        made.set_alpn_protocols(["http/1.1"])
        return made

    def truth(self, numbers: Mapping[str, int] | None = None) -> dict[int, Told]:
        """What it knows of each request since the last ``forget``, by the request's number: that of its id in
        ``numbers``, or else the id itself."""
        lines = self._ask("GET", "/truth").splitlines()
        head = json.loads(lines[0])
        if head["dropped"]:
            raise PerfsuiteError(f"the server could not keep the truth of {head['dropped']:,} requests: ask for fewer")
        found = map(json.loads, lines[1:])
        if numbers is not None:
            return {numbers[row["id"]]: _told(row) for row in found if row["id"] in numbers}
        return {int(row["id"]): _told(row) for row in found if row["id"].isdecimal()}

    def forget(self) -> None:
        """What was so far is of no interest."""
        self._ask("POST", "/truth/reset")

    def _ask(self, method: str, path: str) -> bytes:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context())
        )
        try:
            with opener.open(urllib.request.Request(self.url + path, method=method), timeout=ANSWERS_S) as answer:
                data: bytes = answer.read()
                return data
        except (OSError, urllib.error.URLError) as error:
            raise PerfsuiteError(f"the server of the self check does not answer {method} {path}: {error}") from error


def model_of(pace_ms: float) -> str:
    """The name of the model that sends a token so often."""
    return f"check-{pace_ms:g}"


def _told(row: dict[str, Any]) -> Told:
    return Told(
        received_ns=row["received_ns"],
        offsets_ns=row["sent_offsets_ns"],
        complete=row["end"] == "complete",
        kernel=row["received_by"] == row["sent_by"] == "kernel",
    )


@contextmanager
def serving(
    *, paces_ms: Sequence[float], tokens: int, tokens_per_chunk: int, tls: bool, longest_s: float, spoken: bool = False
) -> Iterator[Served]:
    """A server with a model for each pace (ms from token to token), started as a process and ended with the block.

    Whatever becomes of this process, it ends by itself after ``longest_s``.  Raises PerfsuiteError when it does not
    come up."""
    with scratch_folder("selfcheck") as folder:
        certificate = Path(folder, "certificate.pem") if tls else None
        command = [
            sys.executable, "-m", "perfsuite", "serve", "--engine", "paced", "--port", "0",
            "--tokens", str(tokens), "--tokens-per-chunk", str(tokens_per_chunk), "--for", f"{longest_s:.0f}s",
            *(f"--model={model_of(pace)}:{FIRST_MS:g}:{pace:g}" for pace in paces_ms),
        ]  # fmt: skip
        if certificate is not None:
            command += ["--tls", "--cert-out", str(certificate)]
        with Path(folder, "stderr").open("w+b") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=_environment()
            )
            try:
                yield Served(_url(process, errors.name), certificate, spoken=spoken)
            finally:
                _end(process)


def _environment() -> dict[str, str]:
    """This process's, with this perfsuite first on the path."""
    return {**os.environ, pythonpath.VARIABLE: pythonpath.joined(first=[pythonpath.package()])}


def _url(process: subprocess.Popen[bytes], errors: str) -> str:
    """The first line that the server prints."""
    assert process.stdout is not None
    alarm = threading.Timer(STARTS_S, process.kill)  # its end closes the pipe, and so ends the wait
    alarm.start()
    try:
        line = process.stdout.readline().decode("utf-8", "replace").strip()
    finally:
        alarm.cancel()
    if not line.startswith("http"):
        said = Path(errors).read_text(encoding="utf-8", errors="replace").strip()
        raise PerfsuiteError(f"the server of the self check does not start: {said[-500:] or 'it says nothing'}")
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdout is not None:
            with contextlib.suppress(OSError):
                process.stdout.close()
