"""Which processes of this machine serve a port: the system under test, where it is here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path

from perfsuite.targets.http.address import Address

LISTENING = "0A"
PROC = Path("/proc")


def listeners(addresses: Iterable[Address]) -> tuple[int, ...]:
    """The processes of this machine that listen on the ports of those addresses that are this machine's.

    All that hold the socket: of a server that forks its workers after it listens, the master and each worker.  Another
    user's are not to be seen without root, so not measured.
    """
    ports = {address.port for address in addresses if address.loopback}
    if not ports:
        return ()
    sockets = {f"socket:[{inode}]" for inode in _inodes(ports)}
    return tuple(sorted(_holders(sockets))) if sockets else ()


def _inodes(ports: Set[int]) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (PROC / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue  # a kernel without that protocol, or no Linux
        for line in lines:
            fields = line.split()  # https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) in ports:
                yield fields[9]


def _holders(sockets: Set[str]) -> Iterator[int]:
    for entry in os.listdir(PROC):
        if not entry.isdigit():
            continue
        with suppress(OSError):  # it has ended, or is another user's
            folder = PROC / entry / "fd"
            for number in os.listdir(folder):
                with suppress(OSError):
                    if os.readlink(folder / number) in sockets:
                        yield int(entry)
                        break
