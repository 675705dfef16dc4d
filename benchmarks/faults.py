"""Faults from outside, and what came of each: ``python benchmarks/faults.py [--only disk,clock] [--markdown FILE]``.

A run is measured while its server refuses, cuts, garbles, stalls, is frozen or killed; while the client is killed, its
disk is full, its memory and its file descriptors are bounded, the clock of the day jumps; with a history that is
locked, cut off or no database, and a folder that takes no file.  Each row says what has to hold and what happened; ends
with 1 where something did not hold.  The rows of calls that fail and of kills are short ones of ``failing.py`` and
``kills.py``, which do all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import perfsuite
from failing import Orders, preloaded
from forked import HUNG, Forked, import_all
from perfsuite.cli import main as cli
from perfsuite.result import Result

HERE = Path(__file__).parent
HEADINGS = ("fault", "what has to hold", "what happened", "held")
PATIENCE_S = 300.0
RUN = ("run", "load", "--duration", "400ms", "--concurrency", "4", "--request-timeout", "2s")


@dataclass(frozen=True)
class Row:
    """One fault."""

    fault: str
    wanted: str
    happened: str
    held: bool


@dataclass(frozen=True)
class Ended:
    """A run: its code, what it said and its result."""

    code: int
    said: str
    result: Result | None

    @property
    def kinds(self) -> set[str]:
        """Of its failed requests."""
        return {one.kind for phase in self.result.phases for one in phase.errors} if self.result else set()

    @property
    def orderly(self) -> bool:
        """It ended by itself, with a documented code, without a traceback, and what it wrote is there."""
        known = self.code in (0, 1, 2, 3, 4, 5)
        return known and "Traceback" not in self.said and "internal error" not in self.said

    def __str__(self) -> str:
        figures = ""
        if self.result is not None:
            done = sum(int(phase.delivered.get("completed") or 0) for phase in self.result.phases)
            counts = {one.kind: one.count for phase in self.result.phases for one in phase.errors}
            failed = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            figures = f"; {done} answered" + (f", failed: {failed}" if failed else "")
        return ("hung" if self.code == HUNG else f"exit {self.code}") + figures


def ended(process: Forked, folder: Path) -> Ended:
    code = process.wait(PATIENCE_S)
    files = sorted(folder.glob("out/results-*.json"))
    said = (folder / "said").read_text(errors="replace")
    return Ended(code, said, perfsuite.load(files[-1]) if files else None)


def started(folder: Path, *more: str, before: Callable[[], object] | None = None) -> Forked:
    """A run with its files in a folder; ``before``: what its process does first."""

    def call() -> int:
        if before is not None:
            before()
        return cli([*RUN, "-o", "out", *more])

    variables = {"PERFSUITE_HISTORY": str(folder / "history.db"), "TMPDIR": str(folder), "HOME": str(folder)}
    return Forked(call, said=folder / "said", cwd=folder, variables=variables)


def measured(folder: Path, *more: str, before: Callable[[], object] | None = None) -> Ended:
    return ended(started(folder, *more, before=before), folder)


def message(found: Ended, *words: str) -> str:
    """The line of what it said that has one of the words."""
    lines = [line.strip() for line in found.said.splitlines() if any(word in line for word in words)]
    text = re.sub(r"/[^\s;:,]*/", "…/", lines[-1].removeprefix("perfsuite: ")) if lines else ""
    return f"{text[:150]}…" if len(text) > 150 else text


@contextlib.contextmanager
def server(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``perfsuite serve`` in a process of its own, and its URL."""
    paced = ("--engine", "paced", "--model", "quick:2:1", "--tokens", "10", "--for", "10m")
    command = [sys.executable, "-m", "perfsuite", "serve", *paced, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


# ── the server ────────────────────────────────────────────────────────────────────────────────────────────────────────

MISBEHAVES = {
    "500=out of memory": ("refuses", {"http_5xx"}),
    "429": ("refuses for now", {"http_429"}),
    "cut@3": ("closes in mid-stream", {"closed", "incomplete"}),
    "reset@3": ("resets in mid-stream", {"reset"}),
    "garbage": ("answers no HTTP", {"protocol", "malformed"}),
    "bad_json@2": ("sends an event that is no JSON", {"malformed"}),
    "error_in_200@2": ("reports an error inside a 200", {"target", "malformed", "http_5xx", "incomplete"}),
    "never_end": ("never ends its answers", {"timeout", "too_large"}),
    "stall=5s@2": ("stalls for longer than the time limit", {"timeout"}),
}


def misbehaving(folder: Path) -> Iterator[Row]:
    for fault, (what, kinds) in MISBEHAVES.items():
        place = folder / fault.partition("=")[0].replace("@", "-")
        place.mkdir()
        with server("--fault", fault, "--fault-probability", "0.5", "--seed", "1") as (_, url):
            found = measured(place, "--target", url)
        held = found.orderly and bool(found.kinds) and found.kinds <= kinds
        yield Row(f"the server {what}", "failures under their own kind, the others measured", str(found), held)


def killed_server(folder: Path) -> Iterator[Row]:
    for name, number in (("killed", signal.SIGKILL), ("frozen", signal.SIGSTOP)):
        place = folder / name
        place.mkdir()
        with server() as (process, url):
            run = started(place, "--target", url, "--duration", "3s", "--raw", "raw.csv")
            grown(run, place / "raw.csv")
            process.send_signal(number)
            found = ended(run, place)
        held = found.orderly and bool(found.kinds & {"connect", "closed", "reset", "incomplete", "timeout"})
        answered = found.result is not None and "0 answered" not in str(found)
        yield Row(f"the server is {name} in mid-run", "what was measured before is kept", str(found), held and answered)


def grown(run: Forked, path: Path) -> None:
    """Returns once rows of requests are in a file, or the run is over."""
    while run.poll() is None and not (path.exists() and path.stat().st_size > 2000):
        time.sleep(0.01)


# ── the client ────────────────────────────────────────────────────────────────────────────────────────────────────────


def script(name: str, *flags: str) -> tuple[int, str]:
    """One of the scripts beside this one; its code and the last line that it printed but the verdict."""
    done = subprocess.run([sys.executable, str(HERE / name), *flags], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr[-500:]


def killed_client(folder: Path) -> Iterator[Row]:
    code, said = script("kills.py", "--kills", "5")
    line = next((line for line in said.splitlines() if "can be read" in line), said)
    yield Row("the client is killed at random instants", "every result so far can be read", line, code == 0)


def full_disk(folder: Path) -> Iterator[Row]:
    for error, what in (("ENOSPC", "the disk is full"), ("EIO", "the disk fails"), ("EMFILE", "no file can be opened")):
        code, said = script("failing.py", "--only", "report,init-baselines,cache", "--errors", error, "--every", "3")
        count = sum(map(int, re.findall(r"(\d+) made to fail", said)))
        happened = f"{count} calls made to fail, {said.splitlines()[-1]}"
        wanted = "file and cause are named, no file is half written, the next command works"
        yield Row(f"{what}, at one call after the other", wanted, happened, code == 0 and count > 0)


def read_only(folder: Path) -> Iterator[Row]:
    found = measured(folder, "-o", "/proc/perfsuite")
    held = found.code in (1, 2) and found.orderly and "/proc/perfsuite" in found.said
    yield Row("the output's folder takes no files", "said before anything is measured",
              f"{found}: {message(found, '--output')}", held)  # fmt: skip


def little_memory(folder: Path) -> Iterator[Row]:
    for more in (4, 16, 48, 128):

        def bounded(more: int = more) -> None:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + (more << 20), used + (more << 20)))

        place = folder / str(more)
        place.mkdir()
        found = measured(place, before=bounded)
        fault = f"{more} MiB of memory more than it began with"
        yield Row(fault, "an orderly end", f"{found}{told(found)}", found.orderly)


def told(found: Ended) -> str:
    """What it said of its error."""
    said = message(found, "perfsuite: ")
    return f": {said}" if said and found.code in (1, 2) else ""


def few_descriptors(folder: Path) -> Iterator[Row]:
    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with server() as (_, url):
        found = measured(folder, "--target", url, "--concurrency", "64", before=bounded)
    held = found.orderly and found.result is not None
    yield Row("40 file descriptors for 64 connections", "the connections fail under their kind, files are written",
              f"{found}{told(found)}", held)  # fmt: skip


def stepped_clock(folder: Path) -> Iterator[Row]:
    program = "import sys; from perfsuite.cli import main; sys.exit(main(sys.argv[1:]))"
    tools = folder / "tools"
    tools.mkdir()
    variables = {**os.environ, **preloaded(tools), "PERFSUITE_HISTORY": "off"}
    for step, name in ((3600.0, "an hour forwards"), (-3600.0, "an hour back")):
        place = folder / name.replace(" ", "-")
        place.mkdir()
        Orders(tools / "orders").give(step=(step, 0.8))
        command = [sys.executable, "-c", program, *RUN, "--duration", "2s", "-o", "out"]
        done = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True, timeout=PATIENCE_S)
        (result,) = map(perfsuite.load, place.glob("out/results-*.json"))
        found = Ended(done.returncode, done.stderr, result)
        (phase,) = result.phases
        longest = phase.metric("response_time")
        assert longest is not None
        assert longest.stats is not None
        largest = longest.stats.max or 0.0
        held = found.orderly and not found.kinds and largest < 600e3 and phase.duration_s < 600
        happened = f"{found}; longest response {largest:.0f} ms, phase of {phase.duration_s:.1f} s"
        yield Row(f"the clock of the day steps {name}", "times are those of the monotonic clock", happened, held)


# ── the history ───────────────────────────────────────────────────────────────────────────────────────────────────────


def history(folder: Path) -> Iterator[Row]:
    good = folder / "good"
    good.mkdir()
    measured(good)
    whole = (good / "history.db").read_bytes()
    damages = {"cut off in the middle": whole[: len(whole) // 2], "no database": b"no database at all\n" * 1000}
    for name, data in damages.items():
        place = folder / name.replace(" ", "-")
        place.mkdir()
        (place / "history.db").write_bytes(data)
        found = measured(place)
        yield historical(f"the history is {name}", found)
    place = folder / "locked"
    place.mkdir()
    (place / "history.db").write_bytes(whole)

    def impatient() -> None:
        from perfsuite.history import database

        database.PATIENCE_S = 0.5

    with contextlib.closing(sqlite3.connect(place / "history.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        found = measured(place, before=impatient)
    yield historical("the history is locked by another program", found)


def historical(fault: str, found: Ended) -> Row:
    """A run whose history failed: all else of it is there."""
    held = found.orderly and found.code in (0, 3) and found.result is not None and "not in the history" in found.said
    return Row(fault, "the run is whole, and says how to add it later", f"{found}: {message(found, 'history')}", held)


FAULTS = (
    "the server refuses",
    "the server refuses for now",
    "the server closes in mid-stream",
    "the server resets in mid-stream",
    "the server answers no HTTP",
    "the server sends an event that is no JSON",
    "the server reports an error inside a 200",
    "the server never ends its answers",
    "the server stalls for longer than the time limit",
    "the server is killed in mid-run",
    "the server is frozen in mid-run",
    "the client is killed at random instants",
    "the disk is full, at one call after the other",
    "the disk fails, at one call after the other",
    "no file can be opened, at one call after the other",
    "the output's folder takes no files",
    "4 MiB of memory more than it began with",
    "16 MiB of memory more than it began with",
    "48 MiB of memory more than it began with",
    "128 MiB of memory more than it began with",
    "40 file descriptors for 64 connections",
    "the clock of the day steps an hour forwards",
    "the clock of the day steps an hour back",
    "the history is cut off in the middle",
    "the history is no database",
    "the history is locked by another program",
)
"""Every fault that is tried; the page has a row for each."""

ROWS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "server": misbehaving,
    "gone": killed_server,
    "kills": killed_client,
    "disk": full_disk,
    "folder": read_only,
    "memory": little_memory,
    "descriptors": few_descriptors,
    "clock": stepped_clock,
    "history": history,
}
LATER = "Workers and schedulers that are killed: with `--cluster`, which is not in this version."


def markdown(rows: Sequence[Row]) -> str:
    """The page."""
    text = " ".join((__doc__ or "").split("\n\n", 1)[1].split())
    cells = [(row.fault, row.wanted, row.happened.replace("|", "/"), "yes" if row.held else "NO") for row in rows]
    lines = [f"| {' | '.join(line)} |" for line in (HEADINGS, ["---"] * len(HEADINGS), *cells)]
    return "\n".join(["# Faults, and what comes of them", "", text, "", *lines, "", LATER, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="faults-"))
    rows: list[Row] = []
    try:
        first = work / "first"
        first.mkdir()
        import_all(lambda: cli([*RUN, "-o", str(first), "--history", str(first / "h.db")]), cwd=first)
        for name in arguments.only.split(",") if arguments.only else ROWS:
            folder = work / name
            folder.mkdir()
            for row in ROWS[name](folder):
                if row.fault not in FAULTS:
                    raise KeyError(f"{row.fault!r} is not among FAULTS")
                rows.append(row)
                print(f"{'ok' if row.held else 'NOT HELD'}  {row.fault}: {row.happened}", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if arguments.markdown is not None:
        arguments.markdown.write_text(markdown(rows), "utf-8")
    return 0 if all(row.held for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
