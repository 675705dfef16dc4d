"""The engines that drive requests without Python, and which address is whose."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from perfsuite.errors import PerfsuiteError

if TYPE_CHECKING:
    from perfsuite._core import Events, WireReply
    from perfsuite.targets.http.wired import Endpoint

ENGINES = {"http": "perfsuite._core:Wire", "https": "perfsuite.loadgen.sealed:SealedWire"}
"""The class that speaks a URL's scheme; those of ``targets.http.wired``."""

Count = Callable[["WireReply"], tuple[int | None, int | None]]
"""The tokens, (prompt, completion), of an answer whose server did not tell them all."""

KERNEL_STAMPS = True
"""Whether stamps are asked of the kernel; tests take the clock's instead, to see what that costs."""


class Engine(Protocol):
    """One address, a bounded number of connections, a thread of its own; ``_core.Wire`` says what each call does."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def submit(
        self, request: bytes, due_ns: int | None = None, tag: int = 0, keep: bool = False, echo: bytes = b""
    ) -> bool: ...

    def discard(self) -> int: ...

    def give_up(self, late: bool = False) -> None: ...

    def poll(self, timeout_s: float = 0.0, count: Count | None = None) -> list[WireReply]: ...

    def fileno(self) -> int: ...

    def tell_after(self, replies: int, /) -> None: ...

    def stats(self) -> dict[str, int]: ...


def open_engine(endpoint: Endpoint, events: Events, *, connections: int, queue: int, timeout_s: float) -> Engine:
    """An engine for an endpoint, not started.  Looks its host up, and may wait for that.

    Raises PerfsuiteError when the host has no address, or the system gives no such number of files.
    """
    address = endpoint.address
    module, _, name = ENGINES[address.scheme].partition(":")
    make = cast("Callable[..., Engine]", getattr(import_module(module), name))
    try:
        return make(
            address.host,
            address.port,
            events,
            connections=connections,
            queue=queue,
            timeout_s=timeout_s,
            stream=endpoint.stream,
            rules=endpoint.rules,
            finish=endpoint.finish,
            marks_end=endpoint.marks_end,
            speaks=endpoint.speaks,
            names=endpoint.names,
            cumulative=endpoint.cumulative,
            max_event=LARGEST_EVENT,
            kernel=KERNEL_STAMPS,
        )
    except OSError as error:
        raise PerfsuiteError(f"{address.url} cannot be driven: {error}") from error


LARGEST_EVENT = 4 << 20


def most_connections(wanted: int) -> int:
    """That many, or as many as this process may open files for."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, hard - FILES_BESIDE))


FILES_BESIDE = 512
"""Descriptors that the rest of the process may want."""
