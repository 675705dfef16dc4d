"""Gives the heap's free pages back to the system, and lets the collector of cyclic garbage rest where there is none.

The result so far is built every ten seconds, and is larger than what is kept of it.  What it leaves free lies between
what the run keeps, so glibc holds on to it: in ten minutes of load 20 MB, which then count as the memory of a target
that runs in this process.

A command imports some four hundred modules, whose objects stay; as they grow in number the collector looks through all
of them again and again, for nothing.  What is made while a load is driven is collected as ever.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast


def give_back() -> bool:
    """Whether the C library had something to give.  Takes about a millisecond; who needs the heap waits so long."""
    if sys.platform != "linux":
        return False
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none and keeps little
    return trim is not None and bool(trim(0))


def given_out() -> int | None:
    """Bytes of the C library's heap that are in use, of all threads; None where it does not tell (glibc 2.33 does)."""
    info = _mallinfo()
    if info is None:
        return None
    found = info()
    return int(found.uordblks + found.hblkhd)


@cache
def _mallinfo() -> Callable[[], Any] | None:
    if sys.platform != "linux":
        return None
    import ctypes

    class Info(ctypes.Structure):
        """struct mallinfo2."""

        _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2.split()]

    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is None:
        return None
    function.restype = Info
    function.argtypes = []
    return cast("Callable[[], Any]", function)


_MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


@contextmanager
def uncollected() -> Iterator[None]:
    """No cyclic garbage is looked for, but within ``collected``: for a process that comes to its end after it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def collected() -> Iterator[None]:
    """Cyclic garbage is collected of what is made from now on; what is there already is not looked at."""
    was = gc.isenabled()
    gc.freeze()
    gc.enable()
    try:
        yield
    finally:
        gc.unfreeze()
        if not was:
            gc.disable()
