"""Who is told of an alarm: the log, a web address, a command.  In its own task, behind a queue that has an end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perfsuite.analysis.alarms import Alarm
from perfsuite.errors import PerfsuiteError

MOST_WAITING = 100
TRIES = 3
PAUSE_S = 1.0
"""After the first try that failed; twice as long after each further one."""
WEBHOOK_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What an alarm says goes where it was told to go, and nowhere else."""

    def redirect_request(self, *_: object) -> None:
        return None


class Teller:
    """Tells of alarms.  ``webhook`` gets a POST, ``command`` is run (no shell) with the same JSON on its stdin, ``log``
    is a file that gets a line each; ``say`` gets each in words [stderr]."""

    def __init__(
        self,
        target: str,
        *,
        webhook: str | None = None,
        command: Sequence[str] | None = None,
        log: Path | None = None,
        say: Callable[[str], object] | None = None,
    ) -> None:
        self.dropped = 0
        self._target = target
        self._webhook = webhook
        self._command = command
        self._log = log
        self.say = say or (lambda text: print(f"perfsuite: {text}", file=sys.stderr, flush=True))
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)

    def tell(self, alarm: Alarm) -> None:
        """Takes an alarm that fired or was resolved; never waits."""
        told = message(alarm, self._target)
        self.say(f"alert {told['state']}: {told['text']}")
        body = msgspec.json.encode(told)
        if self._log is not None:
            try:
                with self._log.open("ab") as file:
                    file.write(body + b"\n")
            except OSError as error:
                self.say(f"cannot write {self._log}: {error.strerror or error}")
        if self._webhook is not None or self._command is not None:
            if self._waiting.full():
                self._waiting.get_nowait()
                self._waiting.task_done()
                self.dropped += 1
                self.say("an alert was not told: others have waited for too long")
            self._waiting.put_nowait(body)

    async def run(self) -> None:
        """Passes on what waits, until it is cancelled."""
        while True:
            body = await self._waiting.get()
            try:
                await self._pass_on(body)
            finally:
                self._waiting.task_done()

    async def finish(self, patience_s: float) -> None:
        """Waits for what has not been passed on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._waiting.join()

    async def _pass_on(self, body: bytes) -> None:
        if self._webhook is not None:
            await self._tried(f"the webhook {self._webhook}", lambda: asyncio.to_thread(self._post, body))
        if self._command is not None:
            await self._tried(f"the command {self._command[0]}", lambda: self._run_command(body), tries=1)

    async def _tried(self, what: str, action: Callable[[], object], tries: int = TRIES) -> None:
        for attempt in range(tries):
            try:
                await action()  # type: ignore[misc]
                return
            except (OSError, PerfsuiteError, TimeoutError, ValueError) as error:
                if attempt == tries - 1:
                    self.say(f"an alert did not reach {what}: {error or type(error).__name__}")
                else:
                    await asyncio.sleep(PAUSE_S * 2**attempt)

    def _post(self, body: bytes) -> None:
        assert self._webhook is not None
        request = urllib.request.Request(self._webhook, body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=WEBHOOK_TIMEOUT_S) as answer:
            answer.read(1024)

    async def _run_command(self, body: bytes) -> None:
        assert self._command is not None
        devnull = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=devnull, stderr=devnull
        )
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await process.communicate(body)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise PerfsuiteError(f"it ended with exit code {process.returncode}")


def message(alarm: Alarm, target: str) -> dict[str, str | None]:
    """What is told of an alarm."""
    return {
        "state": "firing" if alarm.resolved_s is None else "resolved",
        "name": alarm.name,
        "kind": alarm.kind,
        "text": alarm.text,
        "since": clock_time(alarm.since_s),
        "resolved": None if alarm.resolved_s is None else clock_time(alarm.resolved_s),
        "target": target,
    }


def clock_time(seconds: float) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
