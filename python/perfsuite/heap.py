"""Gives the heap's free pages back to the system.

The result so far is built every ten seconds, and is larger than what is kept of it.  What it leaves free lies between
what the run keeps, so glibc holds on to it: in ten minutes of load 20 MB, which then count as the memory of a target
that runs in this process.
"""

from __future__ import annotations

import sys


def give_back() -> bool:
    """Whether the C library had something to give.  Takes about a millisecond; who needs the heap waits so long."""
    if sys.platform != "linux":
        return False
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none and keeps little
    return trim is not None and bool(trim(0))
