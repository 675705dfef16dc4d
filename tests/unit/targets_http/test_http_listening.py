"""The processes behind a port: one, forked workers, a server that starts others, nobody."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from perfsuite.collectors import ProcessCollector
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.listening import listeners

PREFORK = """
import os, socket, sys, time
s = socket.socket({family}); s.bind(({host!r}, 0)); s.listen()
pids = [os.getpid()]
for _ in range(2):
    pid = os.fork()
    if not pid:
        ballast = bytearray(os.urandom(1 << 20) * {megabytes})
        os.write({ready}, b"x")
        time.sleep(60); os._exit(0)
    pids.append(pid)
for _ in range(2):
    os.read({wait}, 1)
print(s.getsockname()[1], *pids, flush=True)
{after}
sys.stdin.read()
for pid in pids[1:]: os.kill(pid, 9)
"""


@contextmanager
def prefork(*, host: str = "127.0.0.1", megabytes: int = 1, after: str = "") -> Iterator[tuple[int, set[int]]]:
    """A server that listens and then forks two workers: (port, all its processes)."""
    family = "socket.AF_INET6" if ":" in host else "socket.AF_INET"
    wait, ready = os.pipe()
    program = PREFORK.format(family=family, host=host, megabytes=megabytes, ready=ready, wait=wait, after=after)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=(wait, ready),
    )
    os.close(wait)
    os.close(ready)
    assert process.stdout is not None
    try:
        port, *pids = map(int, process.stdout.readline().split())
        yield port, set(pids)
    finally:
        process.communicate(timeout=20)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_master_and_its_forked_workers(host: str) -> None:
    with prefork(host=host) as (port, pids):
        assert len(pids) == 3
        name = f"[{host}]" if ":" in host else host
        assert set(listeners([parse_address(f"http://{name}:{port}", "test")])) == pids


def test_their_memory_is_counted_once_and_of_all() -> None:
    with prefork(megabytes=20) as (port, pids):
        collector = ProcessCollector(listeners([parse_address(f"http://localhost:{port}", "test")]))
        found = collector.sample()
        assert found["processes"] == len(pids)
        alone = [ProcessCollector([pid]) for pid in pids]
        assert found["memory_bytes"] > 40 << 20  # two workers of 20 MB each
        assert found["memory_bytes"] <= 1.5 * sum(one.memory_bytes() for one in alone)


def test_workers_go_on_where_the_master_has_closed_the_port() -> None:
    with prefork(after="s.close()") as (port, pids):
        for _ in range(1000):  # it closes after it has told its port
            found = set(listeners([parse_address(f"http://127.0.0.1:{port}", "test")]))
            if len(found) == 2:
                break
        assert len(found) == 2
        assert found < pids


def test_this_process_another_port_and_another_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert listeners([parse_address(f"http://127.0.0.1:{port}", "test")]) == (os.getpid(),)
        assert listeners([parse_address(f"http://192.0.2.1:{port}", "test")]) == ()
        with socket.create_connection(("127.0.0.1", port)) as client:  # who is connected does not serve
            assert listeners([parse_address(f"http://127.0.0.1:{client.getsockname()[1]}", "test")]) == ()
    assert listeners([parse_address(f"http://127.0.0.1:{port}", "test")]) == ()
    assert listeners([]) == ()
