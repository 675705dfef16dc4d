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


class Stopped(Exception):
    """The run was stopped before the measurement was done; there is nothing of it."""


async def run_apart(session: Session, command: Sequence[str], text: bytes, doing: str) -> object:
    """The JSON that ``command`` prints when it is given ``text``.

    Raises PerfsuiteError, ``doing`` saying what failed, with the process's last words when it fails, prints no JSON, or
    takes longer than two minutes; and Stopped when the run is stopped meanwhile.  The process never outlives the call.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    session.own_processes.add(process.pid)
    talking = asyncio.create_task(process.communicate(text))
    stopping = asyncio.create_task(session.stop.wait())
    try:
        async with asyncio.timeout(LONGEST_S):
            await asyncio.wait((talking, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not talking.done():
            raise Stopped(f"{doing} was ended with the run")
        out, err = talking.result()
    except TimeoutError:
        raise PerfsuiteError(f"{doing} took longer than {LONGEST_S:g} s and was ended") from None
    finally:
        stopping.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        with contextlib.suppress(OSError):
            await talking
    if process.returncode != 0:
        words = err.decode("utf-8", "replace").strip().splitlines()
        raise PerfsuiteError(f"{doing} failed: {words[-1] if words else f'exit status {process.returncode}'}")
    try:
        return json.loads(out)
    except ValueError:
        raise PerfsuiteError(f"{doing} printed something that is no JSON: {out[:200]!r}") from None
