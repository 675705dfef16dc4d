"""Metadata services of three clouds, played on the loopback; what is no cloud, and what is none at all."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from perfsuite import runner
from perfsuite.collectors import cloud
from perfsuite.collectors.cloud import CloudCollector, Identity
from perfsuite.configuration import configure
from perfsuite.errors import UsageError

Answer = tuple[int, dict[str, str], str]
Says = Callable[[str, str, dict[str, str]], Answer]
UNKNOWN: Answer = (404, {}, "")


def aws(method: str, path: str, headers: dict[str, str]) -> Answer:
    if path == "/latest/api/token":
        good = method == "PUT" and headers.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdigit()
        return (200, {}, "s3same") if good else (405, {}, "")
    if headers.get("x-aws-ec2-metadata-token") != "s3same":
        return 401, {}, ""
    if path == "/latest/dynamic/instance-identity/document":
        document = {
            "instanceType": "m7g.large",
            "region": "eu-west-1",
            "availabilityZone": "eu-west-1b",
            "instanceId": "i-0abc",
            "accountId": "123456789012",
        }
        return 200, {}, json.dumps(document)
    return UNKNOWN


def google(method: str, path: str, headers: dict[str, str]) -> Answer:
    if headers.get("metadata-flavor") != "Google":
        return 403, {}, ""
    values = {
        "machine-type": "projects/42/machineTypes/e2-standard-4",
        "zone": "projects/42/zones/europe-west1-b",
        "id": "7",
    }
    name = path.removeprefix("/computeMetadata/v1/instance/")
    return (200, {"Metadata-Flavor": "Google"}, values[name]) if method == "GET" and name in values else UNKNOWN


def azure(method: str, path: str, headers: dict[str, str]) -> Answer:
    if headers.get("metadata") != "true" or not path.startswith("/metadata/instance/compute?api-version="):
        return 400, {}, '{"error": "Bad request"}'
    found = {"vmSize": "Standard_D2s_v5", "location": "westeurope", "zone": "", "vmId": "02aab8a4", "osProfile": {}}
    return 200, {}, json.dumps(found)


def router(method: str, path: str, headers: dict[str, str]) -> Answer:
    """A hotel's, which has the same page for everything."""
    return 200, {}, "<h1>Welcome</h1>"


@contextmanager
def playing(says: Says) -> Iterator[tuple[tuple[str, int], list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            status, headers, text = says(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield ("127.0.0.1", server.server_port), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the stand-in may take long."""
    monkeypatch.setattr(cloud, "CONNECTING_S", 60.0)
    monkeypatch.setattr(cloud, "LONGEST_S", 120.0)


@pytest.mark.parametrize(
    ("says", "identity", "words"),
    [
        (
            aws,
            Identity("aws", "m7g.large", "eu-west-1", "eu-west-1b", "i-0abc"),
            "aws m7g.large in eu-west-1b (i-0abc)",
        ),
        (
            google,
            Identity("gcp", "e2-standard-4", "europe-west1", "europe-west1-b", "7"),
            "gcp e2-standard-4 in europe-west1-b (7)",
        ),
        (
            azure,
            Identity("azure", "Standard_D2s_v5", "westeurope", "", "02aab8a4"),
            "azure Standard_D2s_v5 in westeurope (02aab8a4)",
        ),
    ],
    ids=["aws", "google", "azure"],
)
def test_each_cloud_is_known_by_its_service(says: Says, identity: Identity, words: str) -> None:
    with playing(says) as (address, asked):
        found = CloudCollector(address)
    assert (found.absent, found.identity, found.says()) == (None, identity, words)
    assert found.sample() == {}
    assert "123456789012" not in repr(found.identity)
    assert not [path for path in asked if "attributes" in path or "service-accounts" in path or "user-data" in path]


def test_what_is_no_cloud_is_absent() -> None:
    with playing(router) as (address, _):
        found = CloudCollector(address)
    assert found.identity is None
    assert found.says() == "absent: what answers as a metadata service is neither AWS's, Google's nor Azure's"


def test_where_nobody_listens_it_is_absent() -> None:
    with socket.socket() as held:  # bound, and never listening
        held.bind(("127.0.0.1", 0))
        found = CloudCollector(held.getsockname())
    assert found.says() == "absent: no cloud's metadata service at 127.0.0.1: Connection refused"


@pytest.mark.parametrize("sent", [b"", b"\x00\xff garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_a_service_that_answers_with_garbage_is_absent(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):  # the look whether it is there, and the first question
                with server.accept()[0] as wire:
                    wire.recv(4096)
                    wire.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        found = CloudCollector(server.getsockname())
        thread.join()
    assert found.absent is not None
    assert found.absent.startswith("the metadata service gave no answer to /latest/api/token: ")


def test_a_silent_service_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "LONGEST_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = CloudCollector(server.getsockname())
    assert found.absent is not None
    assert "gave no answer" in found.absent


def test_a_run_asks_only_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, str]] = []
    with playing(aws) as (address, asked):
        monkeypatch.setattr(cloud, "ADDRESS", address)
        for collect in ((), ("cloud",)):
            settings = {"collect": list(collect), "phase": ["load"], "duration": 0.2}
            plan = configure(settings, environment={}, keywords=True)
            result = asyncio.run(runner.execute_async(plan))
            assert result.run.error is None
            said.append(result.environment.collectors)
            assert bool(asked) == bool(collect)
    assert "cloud" not in said[0]
    assert said[1]["cloud"] == "aws m7g.large in eu-west-1b (i-0abc)"


def test_an_unknown_one_is_a_mistake() -> None:
    with pytest.raises(UsageError, match=r"unknown collector.*cloud"):
        configure({"collect": ["clouds"]}, environment={})
