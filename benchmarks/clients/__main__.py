"""Load clients beside one another, and beside the truth: ``python benchmarks/clients [CLIENT…] [--streams 1,128,512]``.

One server that paces 20 ms to the first token and 20 ms between tokens (``perfsuite serve --engine paced``) writes down
when the kernel received each request and sent each token.  Each client, in a process of its own, holds so many streams
for so many rounds and says what it measured; beside it stands what was so, of the same requests.  A client's
error is the difference.  Its CPU is that of its process: once for a single request (the fixed cost), and what the
tokens of the load cost beyond that.  Each is run once before, so that its modules are compiled, as an installed
package's are.  ``perfsuite run`` is all that a user starts: what its reports and its history cost stands behind a plus.

``--busy N`` puts N processes that never rest beside them.  ``--python CLIENT=PATH`` names another environment's
interpreter for a client that does not share this one's.  A client is a file beside this one: it takes a URL, a number
of streams, of rounds and of tokens, and prints one JSON object (see ``report.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER.parent.parent / "python"
CLIENTS = {
    "perfsuite": "ours.py",
    "perfsuite, asyncio": "ours_asyncio.py",
    "perfsuite run": "ours_run.py",
    "aiohttp + json": "by_aiohttp.py",
    "httpx + json": "by_httpx.py",
    "openai": "by_openai.py",
    "locust": "by_locust.py",
    "aiperf": "by_aiperf.py",
    "guidellm": "by_guidellm.py",
}
COMPILED = Path(tempfile.gettempdir()) / f"perfsuite-clients-{os.getpid()}"
"""Where the clients' modules are kept compiled, until the last one has run."""
NOT_INSTALLED = 77
"""A client's exit status when what it needs is not there."""
TTFT_MS = GAP_MS = 20
PATIENCE_S = 300.0
LEAST_TOKENS = 5000
"""For fewer, what they cost is lost in the fixed cost."""


@dataclass
class Cell:
    """One client under one load.  Times in ms: what the client says, and what was so."""

    client: str
    streams: int
    busy: int
    said: dict[str, float] = field(default_factory=dict)
    true: dict[str, float] = field(default_factory=dict)
    held: int | None = None
    errors: int = 0
    cpu_ms_per_1000: float | None = None
    fixed_cpu_s: float | None = None
    reports_cpu_s: float | None = None
    """Of the fixed cost, what came after the last request; None: the client says nothing of that."""
    note: str = ""


@contextmanager
def server(tokens: int, longest_s: float) -> Iterator[str]:
    """The paced server's URL; it ends by itself if we do not come to end it."""
    model = f"paced:{TTFT_MS}:{GAP_MS}"
    command = [sys.executable, "-m", "perfsuite", "serve", "--engine", "paced", "--model", model, "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [*command, "--tokens", str(tokens), "--for", f"{longest_s:.0f}s"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that never rest, each for a bounded time."""
    spin = f"import time\nend = time.monotonic() + {PATIENCE_S}\nwhile time.monotonic() < end: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(count)]
    try:
        yield
    finally:
        for one in spinning:
            one.kill()
            one.wait()


def run(
    python: str, script: Path, url: str, streams: int, rounds: int, tokens: int
) -> tuple[dict[str, object], float, str]:
    """(what the client said, its CPU seconds, why there is nothing)."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONPYCACHEPREFIX": str(COMPILED)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="clients-") as folder, tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [python, str(script), url, str(streams), str(rounds), str(tokens)],
            stdout=out, stderr=subprocess.DEVNULL, env=environment, cwd=folder,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                process.kill()
                os.wait4(process.pid, 0)
                process.returncode = -9
                return {}, 0.0, f"no end within {PATIENCE_S:g} s"
            time.sleep(0.02)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        out.seek(0)
        lines = out.read().decode(errors="replace").splitlines()
    if code == NOT_INSTALLED:
        return {}, 0.0, "missing" + (f": {lines[-1]}" if lines else "")
    if code != 0 or not lines:
        return {}, 0.0, f"exit status {code}"
    return json.loads(lines[-1]), usage.ru_utime + usage.ru_stime, ""


def truth(url: str, marked: bool) -> dict[str, float]:
    """Quantiles of what was so, of the measured requests (those whose id begins with m) or of all."""
    first, gaps = [], []
    with urllib.request.urlopen(f"{url}/truth") as answer:
        next(answer)
        for line in answer:
            row = json.loads(line)
            sent = row["sent_offsets_ns"]
            if sent and (not marked or str(row["id"]).startswith("m")):
                first.append(sent[0] / 1e6)
                gaps += [(b - a) / 1e6 for a, b in pairwise(sent)]
    return {
        "ttft_p50": quantile(first, 0.5),
        "ttft_p99": quantile(first, 0.99),
        "itl_p50": quantile(gaps, 0.5),
        "itl_p99": quantile(gaps, 0.99),
    }


def quantile(values: list[float], q: float) -> float:
    """Nearest rank."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1)]


def reset(url: str) -> None:
    """Forgets what the server wrote down so far."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/truth/reset", method="POST")).read()


def measure(label: str, python: str, streams: int, rounds: int, tokens: int, spinning: int) -> Cell:
    """One client under one load, against a server of its own."""
    cell = Cell(label, streams, spinning)
    script = FOLDER / CLIENTS[label]
    with server(tokens, 3 * PATIENCE_S) as url:
        run(python, script, url, 1, 1, tokens)  # compiles
        alone, fixed, cell.note = run(python, script, url, 1, 1, tokens)
        if cell.note:
            return cell
        reset(url)
        with busy(spinning):
            said, cpu, cell.note = run(python, script, url, streams, rounds, tokens)
        if cell.note:
            return cell
        cell.true = truth(url, bool(said.get("marked")))
    cell.said = {name: float(said[name]) for name in cell.true if said.get(name) is not None}  # type: ignore[arg-type]
    cell.held = int(said["held"]) if said.get("held") is not None else None  # type: ignore[call-overload]
    cell.errors = int(said.get("errors", 0))  # type: ignore[call-overload]
    received = float(said["tokens"])  # type: ignore[arg-type]
    if "measuring_cpu_s" in said:
        cpu = float(said["measuring_cpu_s"])  # type: ignore[arg-type]
        measuring = float(alone["measuring_cpu_s"])  # type: ignore[arg-type]
        cell.reports_cpu_s, fixed = fixed - measuring, measuring
    cell.fixed_cpu_s = fixed
    if received >= LEAST_TOKENS:
        cell.cpu_ms_per_1000 = 1e6 * max(0.0, cpu - fixed) / received
    return cell


def shown(cell: Cell) -> list[str]:
    """The cells of a table's row."""
    if cell.note:
        return [cell.client, str(cell.streams), str(cell.busy), cell.note, "", "", "", "", "", ""]

    def pair(name: str) -> str:
        said = cell.said.get(name)
        return f"{'not told' if said is None else f'{said:.2f}'} ({cell.true[name]:.2f})"

    return [
        cell.client,
        str(cell.streams),
        str(cell.busy),
        *(pair(name) for name in ("ttft_p50", "ttft_p99", "itl_p50", "itl_p99")),
        "not told" if cell.held is None else str(cell.held),
        "—" if cell.cpu_ms_per_1000 is None else f"{cell.cpu_ms_per_1000:.1f}",
        fixed(cell),
    ]


def fixed(cell: Cell) -> str:
    """The fixed cost, that of reports behind a plus."""
    if cell.fixed_cpu_s is None:
        return "—"
    return f"{cell.fixed_cpu_s:.2f}" + ("" if cell.reports_cpu_s is None else f" + {cell.reports_cpu_s:.2f}")


def combined(cells: list[Cell]) -> Cell:
    """The run of several whose worst error of ttft is in the middle."""
    whole = [cell for cell in cells if not cell.note]
    if not whole:
        return cells[0]

    def error(cell: Cell) -> float:
        return abs(cell.said.get("ttft_p50", 0.0) - cell.true["ttft_p50"])

    middle = statistics.median_low([error(cell) for cell in whole])
    return next(cell for cell in whole if error(cell) == middle)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("client", nargs="*", help=f"of {', '.join(CLIENTS)}; none: all")
    parser.add_argument("--streams", default="1,128,512")
    parser.add_argument("--busy", default="0", help="busy processes beside, such as 0,3")
    parser.add_argument("--rounds", type=int, default=3, help="requests of each stream; the first is warm-up")
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the one with the median error is shown")
    parser.add_argument("--python", action="append", default=[], metavar="CLIENT=PATH")
    options = parser.parse_args()
    for name in options.client:
        if name not in CLIENTS:
            parser.error(f"unknown client {name!r}; there are {', '.join(CLIENTS)}")
    pythons = dict(one.split("=", 1) for one in options.python)
    head = ["client", "streams", "busy", "ttft p50", "ttft p99", "itl p50", "itl p99", "held", "CPU ms / 1,000 tokens"]
    head.append("fixed CPU s")
    print("ms as the client says (as it was); 20 ms paced; server and client on one machine\n")
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    try:
        for spinning in map(int, options.busy.split(",")):
            for streams in map(int, options.streams.split(",")):
                for label in options.client or CLIENTS:
                    python = pythons.get(label, sys.executable)
                    cells = [
                        measure(label, python, streams, options.rounds, options.tokens, spinning)
                        for _ in range(options.repeat)
                    ]
                    print("| " + " | ".join(shown(combined(cells))) + " |", flush=True)
    finally:
        shutil.rmtree(COMPILED, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
