"""How many streams one core holds, and what each costs while it waits: ``python benchmarks/streams.py [--streams N]``.

``perfsuite serve`` paces so many streams at once, a token each every two seconds.  A client in a process of its own,
bound to one processor, drives them as ``run`` drives a chat service, and is looked at while all of them are open: its
resident memory then, less what it was before the load, is what they cost.  What the kernel keeps for their sockets is
not in it.  Exit status 1: not all were held at once, one failed, or one cost more than MOST_KB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "python"
MOST_KB = 8.0
LONGEST_S = 180.0


@contextmanager
def server(tokens: int, gap_s: float, longest_s: float = LONGEST_S) -> Iterator[str]:
    """The paced server's URL; it ends by itself if we do not come to end it."""
    gap_ms = f"{1e3 * gap_s:g}"
    command = [sys.executable, "-m", "perfsuite", "serve", "--engine", "paced", "--model", f"paced:{gap_ms}:{gap_ms}"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--tokens", str(tokens), "--for", f"{longest_s:.0f}s"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def environment() -> dict[str, str]:
    """This process's, with this perfsuite first on the path."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))}


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def drive(url: str, streams: int) -> dict[str, object]:
    """Holds the streams at once; what that took."""
    from perfsuite._core import Events
    from perfsuite.loadgen import LoadSpec
    from perfsuite.loadgen import drive as driven
    from perfsuite.targets.base import Request
    from perfsuite.targets.http.address import parse_address
    from perfsuite.targets.http.target import ChatTarget

    address = parse_address(url, "the server")
    target = ChatTarget("openai", address, None, {"paced": address})
    messages = [{"role": "user", "content": "hello"}]

    def requests() -> Iterator[Request]:
        while True:
            yield Request(message="", messages=messages, user_id="u", conversation_id="c", model="paced")

    def spec(count: int) -> LoadSpec:
        return LoadSpec(duration_s=LONGEST_S, concurrency=count, max_requests=count, request_timeout_s=LONGEST_S)

    events = Events()
    held_bytes = 0

    def look(share: float) -> None:
        nonlocal held_bytes
        if events.in_flight == streams:
            held_bytes = max(held_bytes, resident_bytes())

    await target.open()
    try:
        await driven(target, requests(), spec(1), Events())  # whatever is imported or made once is there now
        before = resident_bytes()
        used = time.process_time()
        delivered = await driven(target, requests(), spec(streams), events, progress=look)
        used = time.process_time() - used
    finally:
        await target.close()
    return {
        "held": delivered.max_in_flight,
        "completed": delivered.completed,
        "failed": delivered.failed,
        "examples": delivered.examples,
        "kb_each": (held_bytes - before) / streams / 1024.0 if held_bytes else None,
        "cpu_ms_each": 1e3 * used / streams,
    }


def measure(streams: int, tokens: int, gap_s: float) -> dict[str, object]:
    """What a client of its own process says, bound to one processor."""
    with server(tokens, gap_s) as url:
        done = subprocess.run(
            [sys.executable, __file__, "--client", url, "--streams", str(streams)],
            capture_output=True, text=True, timeout=LONGEST_S, check=False, env=environment(),
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the client ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--tokens", type=int, default=10, help="of each, so that all are open at once")
    parser.add_argument("--gap", type=float, default=2.0, help="seconds from token to token, and to the first")
    parser.add_argument("--client", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(asyncio.run(drive(options.client, options.streams))))
        return 0
    found = measure(options.streams, options.tokens, options.gap)
    each = found["kb_each"]
    shown = "not seen: they were never all open at once" if each is None else f"{each:.1f} KB"
    print(f"{options.streams:,} streams on one core: {found['held']:,} held at once, {found['failed']:,} failed")
    print(f"memory of a stream that waits: {shown}; CPU of one, its {options.tokens} tokens included: ", end="")
    print(f"{found['cpu_ms_each']:.2f} ms")
    if found["examples"]:
        print(json.dumps(found["examples"], indent=2))
    good = found["held"] == found["completed"] == options.streams and not found["failed"]
    return 0 if good and isinstance(each, float) and each <= MOST_KB else 1


if __name__ == "__main__":
    raise SystemExit(main())
