"""Measurements in a process of their own, whose memory is not the memory of the system under test."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perfsuite.errors import PerfsuiteError

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

LONGEST_S = 120.0


async def run_apart(session: Session, command: Sequence[str], text: bytes, doing: str) -> object:
    """The JSON that ``command`` prints when it is given ``text``.

    Raises PerfsuiteError, ``doing`` saying what failed, with the process's last words when it fails, prints no JSON, or
    takes longer than two minutes.  The process never outlives the call.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    session.own_processes.add(process.pid)
    try:
        async with asyncio.timeout(LONGEST_S):
            out, err = await process.communicate(text)
    except TimeoutError:
        raise PerfsuiteError(f"{doing} took longer than {LONGEST_S:g} s and was ended") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        words = err.decode("utf-8", "replace").strip().splitlines()
        raise PerfsuiteError(f"{doing} failed: {words[-1] if words else f'exit status {process.returncode}'}")
    try:
        return json.loads(out)
    except ValueError:
        raise PerfsuiteError(f"{doing} printed something that is no JSON: {out[:200]!r}") from None
