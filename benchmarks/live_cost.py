"""What ``--live`` and a viewer cost a measurement: ``python benchmarks/live_cost.py [--pairs N] [--streams N]``.

In turns, without a page and with one that a viewer in a process of its own follows, the client drives ``perfsuite
serve``, and each request is held against the truth that the server took.  Printed are, of both sides, the medians of
the client's errors (ms) and of what its process used of processors for each thousand tokens, and their ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

SOURCE = Path(__file__).resolve().parent.parent / "python"
sys.path.insert(0, str(SOURCE))

from perfsuite.live.apart import Apart  # noqa: E402
from perfsuite.live.opening import opened  # noqa: E402
from perfsuite.live.showing import Showing  # noqa: E402
from perfsuite.loadgen import LoadSpec, drive  # noqa: E402
from perfsuite.suites.selfcheck import driving  # noqa: E402
from perfsuite.suites.selfcheck.checking import Check, Condition, check  # noqa: E402
from perfsuite.suites.selfcheck.served import Served, serving  # noqa: E402
from perfsuite.suites.session import Stretch  # noqa: E402
from perfsuite.values import ANY_PORT  # noqa: E402

if TYPE_CHECKING:
    from perfsuite._core import Events
    from perfsuite.loadgen import Delivered
    from perfsuite.targets.base import Request, Target

VIEWER = (
    "import sys, urllib.request\n"
    "states = sum(line.startswith(b'data: ') for line in urllib.request.urlopen(sys.argv[1], timeout=60))\n"
    "print(states)"
)


@contextmanager
def viewed() -> Iterator[subprocess.Popen[str]]:
    """The load that is driven meanwhile has a page, and somebody looks at it."""
    listener, token = opened(ANY_PORT, "--live", {})
    page = Apart(listener, token, "live cost", print)
    viewer = subprocess.Popen(
        [sys.executable, "-c", VIEWER, f"{page.url}stream"], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    while not page.viewers:
        time.sleep(0.01)
    showing = Showing(page)

    async def watched(target: Target, requests: Iterable[Request], spec: LoadSpec, events: Events) -> Delivered:
        stretch = Stretch("check", spec, events, {})
        return await drive(target, requests, spec, events, progress=lambda share: showing.watch(stretch))

    driving.drive = watched  # type: ignore[assignment]
    try:
        yield viewer
    finally:
        driving.drive = drive
        page.end("over")
        page.close()


def one(served: Served, condition: Condition, seconds: float, *, live: bool) -> tuple[Check, float]:
    """A check, and the states a second that its viewer got."""
    if not live:
        return check(served, condition, seconds), 0.0
    with viewed() as viewer:
        found = check(served, condition, seconds)
    out, _ = viewer.communicate(timeout=60)
    return found, int(out) / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    condition = Condition(engine="wire", scheme="http", streams=given.streams, tokens_per_chunk=1, token_ms=None)
    sides: dict[bool, list[Check]] = {False: [], True: []}
    seen: list[float] = []
    with serving(
        tokens=condition.tokens, paces_ms=[condition.pace_ms], tokens_per_chunk=1, tls=False,
        longest_s=60.0 + given.pairs * 2.0 * (given.seconds + 10.0),
    ) as served:  # fmt: skip
        for pair in range(given.pairs):
            for live in (False, True) if pair % 2 == 0 else (True, False):
                found, states = one(served, condition, given.seconds, live=live)
                sides[live].append(found)
                seen += [states] if live else []
    print(f"{condition}; {given.pairs} pairs; a viewer got {statistics.median(seen):.1f} states a second")
    print(f"{'':28}{'without':>10}{'with':>10}{'ratio':>8}")
    for name, of in (
        ("ttft error p50, ms", lambda c: c.ttft.p50),
        ("ttft error p99, ms", lambda c: c.ttft.p99),
        ("itl error p50, ms", lambda c: c.itl.p50),
        ("itl error p99, ms", lambda c: c.itl.p99),
        ("CPU ms per 1,000 tokens", lambda c: c.cpu_ms_per_1000_tokens),
        ("late sends, share", lambda c: c.late),
    ):
        before, after = (statistics.median(of(found) for found in sides[live]) for live in (False, True))
        ratio = f"{after / before:8.2f}" if before else f"{'–':>8}"
        print(f"{name:28}{before:10.4f}{after:10.4f}{ratio}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
