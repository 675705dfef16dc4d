"""Which machine of a cloud this is, as the cloud's metadata service says; asked only where ``--collect cloud`` does.

AWS by IMDSv2 (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html), Google
(https://cloud.google.com/compute/docs/metadata/querying-metadata) and Azure
(https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service).  Asked of each is the kind of machine,
where it stands and its id, and nothing else: what such a service also holds (keys, accounts, start-up scripts) is not.
"""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import cast

ADDRESS = ("169.254.169.254", 80)
CONNECTING_S = 1.0
"""It stands beside the machine; where nothing answers within this, there is none."""
LONGEST_S = 4.0
"""Of all questions together."""
LARGEST = 1 << 16
LONGEST_WORD = 128

GOOGLE = {"Metadata-Flavor": "Google"}


@dataclass(frozen=True, slots=True)
class Identity:
    """``provider`` (aws, gcp or azure), the kind of ``machine``, its ``region`` and ``zone`` (empty where that is not
    told) and its ``instance`` id."""

    provider: str
    machine: str
    region: str
    zone: str
    instance: str


class Nothing(Exception):
    """There is no identity; the message says why."""


class CloudCollector:
    """The machine's identity, which does not change while a run lasts: asked for once, when this is made."""

    name = "cloud"

    def __init__(self, address: tuple[str, int] | None = None) -> None:
        self.absent: str | None = None
        self.identity: Identity | None = None
        try:
            self.identity = _asked(_Service(address or ADDRESS))
        except Nothing as error:
            self.absent = str(error)

    def says(self) -> str:
        """What there is, in words for the result's environment."""
        if self.identity is None:
            return f"absent: {self.absent}"
        one = self.identity
        where = one.zone if one.zone.startswith(one.region) else f"{one.region} {one.zone}".strip()
        return f"{one.provider} {one.machine} in {where} ({one.instance})"

    def sample(self) -> Mapping[str, float]:
        """Nothing: an identity is no figure."""
        return {}


class _Service:
    """The metadata service; a connection for each question, all of them within LONGEST_S."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._deadline = time.monotonic() + LONGEST_S

    def reached(self) -> None:
        """Raises Nothing where nobody is there."""
        try:
            socket.create_connection(self._address, CONNECTING_S).close()
        except OSError as error:
            why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise Nothing(f"no cloud's metadata service at {self._address[0]}: {why}") from error

    def ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]] | None:
        """The text of a 200 and its headers; None for another status.  Raises Nothing for what is no answer."""
        head = [f"{method} {path} HTTP/1.1", f"Host: {self._address[0]}", "Connection: close", "Content-Length: 0"]
        asked = "\r\n".join([*head, *(f"{name}: {value}" for name, value in headers.items()), "", ""])
        data = bytearray()
        try:
            with socket.create_connection(self._address, self._left()) as wire:
                wire.sendall(asked.encode("ascii"))
                while len(data) <= LARGEST:
                    wire.settimeout(self._left())
                    piece = wire.recv(LARGEST)
                    if not piece:
                        break
                    data += piece
            response = HTTPResponse(cast("socket.socket", _Received(bytes(data))), method=method)
            response.begin()
            text = response.read().decode("utf-8", "replace")
        except (OSError, HTTPException, ValueError) as error:
            raise Nothing(f"the metadata service gave no answer to {path}: {error or type(error).__name__}") from error
        return (text, dict(response.getheaders())) if response.status == 200 else None

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not within {LONGEST_S:g} s")
        return left


class _Received:
    """What was received, as ``HTTPResponse`` wants a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _asked(service: _Service) -> Identity:
    service.reached()
    providers: tuple[Callable[[_Service], Identity | None], ...] = (_aws, _google, _azure)
    for provider in providers:
        found = provider(service)
        if found is not None:
            return found
    raise Nothing("what answers as a metadata service is neither AWS's, Google's nor Azure's")


def _aws(service: _Service) -> Identity | None:
    token = service.ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    if token is None:
        return None
    word = token[0].strip()
    if not word.isascii() or not word.isprintable():
        return None
    document = service.ask("GET", "/latest/dynamic/instance-identity/document", {"X-aws-ec2-metadata-token": word})
    found = _object(document)
    if "instanceType" not in found:
        return None
    names = ("instanceType", "region", "availabilityZone", "instanceId")
    return Identity("aws", *(_word(found.get(name)) for name in names))


def _google(service: _Service) -> Identity | None:
    said = []
    for name in ("machine-type", "zone", "id"):
        answer = service.ask("GET", f"/computeMetadata/v1/instance/{name}", GOOGLE)
        if answer is None or answer[1].get("Metadata-Flavor") != "Google":
            return None
        said.append(_word(answer[0].rpartition("/")[2]))  # projects/1/zones/europe-west1-b
    machine, zone, instance = said
    return Identity("gcp", machine, zone.rpartition("-")[0], zone, instance)


def _azure(service: _Service) -> Identity | None:
    path = "/metadata/instance/compute?api-version=2019-06-01&format=json"
    found = _object(service.ask("GET", path, {"Metadata": "true"}))
    if "vmSize" not in found:
        return None
    return Identity("azure", *(_word(found.get(name)) for name in ("vmSize", "location", "zone", "vmId")))


def _object(answer: tuple[str, Mapping[str, str]] | None) -> dict[str, object]:
    """An answer's JSON object; empty where it is none."""
    try:
        found = json.loads(answer[0]) if answer is not None else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _word(value: object) -> str:
    """Foreign text as a short line."""
    return "".join(character for character in str(value or "") if character.isprintable())[:LONGEST_WORD].strip()
