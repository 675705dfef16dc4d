"""Every call about a file fails once: ``python benchmarks/failing.py [--only run,history] [--errors ENOSPC,EIO]``.

In the manner of SQLite's anomaly tests: a command runs in a folder of its own and its calls (open, read, write, sync,
rename and link, unlink, mkdir, lock, truncate) about files below that folder are counted, those of SQLite and of the
processes that it starts too.  Then it runs again and again, and the first, the second, … the last of them fails, with
each of the errors, or writes half of what it was given.  After each: it ended by itself, with a documented code and no
traceback; where it failed it named the file and the cause; whatever result is there is whole and can be read; the
history is intact and has what it had; and the same command, now without a fault, works in that folder.

Needs Linux and a C compiler.  Ends with 1 where anything else was found.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from forked import HUNG, Forked, import_all

SOURCE = Path(__file__).with_name("failing_calls.c")
KINDS = ("open", "read", "write", "sync", "rename", "unlink", "mkdir", "lock", "truncate", "connect")
SHORT = -1
ERRORS: dict[str, tuple[int, tuple[str, ...]]] = {
    "ENOSPC": (errno.ENOSPC, ("open", "write", "sync", "rename", "mkdir", "truncate")),
    "EIO": (errno.EIO, ("open", "read", "write", "sync", "rename", "unlink", "mkdir", "lock", "truncate")),
    "EMFILE": (errno.EMFILE, ("open",)),
    "EACCES": (errno.EACCES, ("open", "rename", "unlink", "mkdir", "lock")),
    "short": (SHORT, ("write",)),
}
"""What each call is made to fail with: only what its manual page has."""
SQLITE = (
    *("disk I/O error", "database or disk is full", "unable to open", "locked", "readonly", "not a database"),
    *("malformed", "locking protocol"),
)
"""SQLite's own words for what the system said to it."""
EACH = 200
"""Of a command with more calls than this each of the first is failed, and of the others ever fewer."""
DOCUMENTED = {0, 1, 2, 3, 4, 5}
ORDERS = struct.Struct("<7q1024s1024s")


def built(folder: Path) -> Path:
    """The library that is preloaded."""
    library = folder / "failing_calls.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def preloaded(folder: Path) -> dict[str, str]:
    """The variables of a program whose calls are to be counted; its orders are in ``folder / "orders"``."""
    orders = folder / "orders"
    orders.write_bytes(bytes(ORDERS.size))
    return {"LD_PRELOAD": str(built(folder)), "FAILING_CALLS": str(orders)}


class Orders:
    """What the library is to do, and what it has done."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), ORDERS.size)

    def give(
        self,
        under: Path | None = None,
        kinds: tuple[str, ...] = (),
        at: int = 0,
        error: int = 0,
        step: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """From now on; the counts begin again.  ``step``: by how many seconds, and in how many, the clock steps."""
        mask = sum(1 << KINDS.index(kind) for kind in kinds)
        steps = (round(step[0] * 1e9), round((time.monotonic() + step[1]) * 1e9) if step[0] else 0)
        folder = b"" if under is None else f"{under}/".encode()
        self._map[:] = ORDERS.pack(mask, at, error, 0, 0, *steps, folder, b"")

    @property
    def seen(self) -> int:
        """How many calls there were."""
        return int(ORDERS.unpack(self._map)[3])

    @property
    def failed(self) -> str | None:
        """The call that failed and its path, or None."""
        fields = ORDERS.unpack(self._map)
        return fields[8].partition(b"\0")[0].decode(errors="replace") if fields[4] else None


@dataclass(frozen=True)
class Scenario:
    """``argv``: perfsuite's, or a ``call``; ``leaves``: files of one that went well."""

    argv: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    call: Callable[[], int] | None = None
    kinds: tuple[str, ...] = KINDS[:-1]


def cache() -> int:
    """A cache of embeddings that is read, added to and saved."""
    import perfsuite
    from perfsuite.cli import main  # its words for errors

    def use() -> None:
        with perfsuite.EmbeddingCache("cache", autosave_every=2) as kept:
            for text in ("one", "two", "three"):
                kept.get_or_compute(text, lambda text: [float(len(text))] * 8)

    try:
        use()
    except (OSError, perfsuite.PerfsuiteError) as error:
        where = getattr(error, "filename", None)
        print(f"{where or ''} {error}", file=sys.stderr)
        return 1
    assert main
    return 0


RUN = ("run", "load", "--duration", "100ms", "--concurrency", "2", "--history", "history.db", "-o", "out")
FILES = ("out/results-*.json", "out/report-*.md", "out/metrics-*.html")
SCENARIOS = {
    "run": Scenario(
        (*RUN, "--raw", "raw.csv", "--junitxml", "j.xml", "--prometheus-file", "p.prom"),
        (*FILES, "raw.csv", "j.xml", "p.prom"),
    ),
    "report": Scenario(("report", "earlier.json", "-o", "again"), ("again/*.md", "again/*.html")),
    "history add": Scenario(("history", "add", "earlier.json", "--history", "new.db"), ("new.db",)),
    "history export": Scenario(("history", "export", "--history", "history.db", "-o", "rows.csv"), ("rows.csv",)),
    "init-baselines": Scenario(("init-baselines", "earlier.json", "-o", "."), ("baselines/*.json",)),
    "memory": Scenario(
        ("run", "latency", "--duration", "100ms", "--history", "history.db", "-o", "out"), ("out/latency_*.json",)
    ),
    "database": Scenario(("run", "database", "--duration", "200ms", "--history", "history.db", "-o", "out"), FILES),
    "monitor": Scenario(
        ("monitor", "--duration", "1s", "--rate", "20", "--store", "store.db", "--log", "alarms.log"), ("store.db",)
    ),
    "cache": Scenario(call=cache, leaves=("cache",)),
}


@dataclass
class Found:
    """What came of one scenario and error."""

    calls: int = 0
    injected: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    offences: list[str] = field(default_factory=list)


class Place:
    """A folder with all that a command reads and writes, and what is said of it."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.folder = folder
        self._scenario = scenario
        self._said = folder.parent / "said"

    def run(self) -> int:
        """The command, in a process of its own that has imported everything already; its code."""
        return Forked(self.call, said=self._said, cwd=self.folder, variables=self.variables).wait()

    def call(self) -> int:
        """The command here."""
        from perfsuite.cli import main

        return self._scenario.call() if self._scenario.call is not None else main(self._scenario.argv)

    @property
    def variables(self) -> dict[str, str]:
        """What its process begins with."""
        homes = {name: str(self.folder / "home") for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
        return {**homes, "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp")}

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def left(self) -> list[str]:
        """The patterns of which there is no file."""
        return [pattern for pattern in self._scenario.leaves if not list(self.folder.glob(pattern))]

    def damage(self) -> Iterator[str]:
        """What of it cannot be read, or should not be there."""
        import perfsuite

        for path in sorted(self.folder.rglob("*.json")):
            if path.name.startswith(("results-", "latency_", "earlier")):
                try:
                    perfsuite.load(path)
                except perfsuite.PerfsuiteError as error:
                    yield f"{path.name} cannot be read: {error}"
        for path in self.folder.rglob("*.html"):
            if not path.read_text("utf-8").rstrip().endswith("</html>"):
                yield f"{path.name} is not whole"
        for name, table in (("history.db", "runs"),):
            with sqlite3.connect(self.folder / name) as connection:
                if (said := connection.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                    yield f"{name} is damaged: {said}"
                if not connection.execute(f"SELECT count(*) FROM perfsuite_{table}").fetchone()[0]:
                    yield f"{name} has lost what it had"
            connection.close()


def explained(said: str, call: str, error: int) -> bool:
    """Whether a message names what failed, or the file that it was for, and why."""
    causes = [os.strerror(error)] if error > 0 else []
    name = re.escape(Path(call.split()[-1]).name.removesuffix("-wal").removesuffix("-shm")) if " " in call else "."
    named = re.compile(rf"{name}|[\w.-]+\.(db|json|csv|xml|prom|md|html|log)\b|/")
    return any(named.search(line) and any(cause in line for cause in (*causes, *SQLITE)) for line in said.splitlines())


def offences(place: Place, code: int, clean: int, call: str, error: int) -> Iterator[str]:
    """What is wrong with how a command took its fault."""
    said = place.said
    if code == HUNG:
        yield "it hung"
    elif code not in DOCUMENTED:
        yield f"it ended with {code}"
    if "Traceback" in said or "internal error" in said:
        yield "a traceback" if "Traceback" in said else "an internal error"
    if code != clean and not explained(said, call, error):
        yield f"it ended with {code} and did not say what failed, and why"
    missing = place.left()
    if code == clean and missing and not explained(said, call, error):
        yield f"there is no {', '.join(missing)}, and nothing was said"
    yield from place.damage()
    if not call.startswith("unlink") and (stale := [path.name for path in place.folder.rglob("*.tmp")]):
        yield f"{', '.join(stale)} was left behind"


def tried(scenario: Scenario, name: str, orders: Orders, work: Path, before: Path, every: int, first: int) -> Found:
    """All calls of a scenario, each failing once with the error."""
    error, kinds = ERRORS[name]
    kinds = tuple(kind for kind in kinds if kind in scenario.kinds)
    folder = work / "case" / "place"

    def laid_out() -> Place:
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(before, folder)
        return Place(folder, scenario)

    found = Found()
    place = laid_out()
    orders.give(folder, kinds)
    clean = place.run()
    found.calls = orders.seen
    orders.give()
    if clean not in (0, 3) or place.left():
        raise SystemExit(f"{scenario.argv} ends with {clean} without a fault, without {place.left()}:\n{place.said}")
    at = first
    while True:
        place = laid_out()
        orders.give(folder, kinds, at, error)
        code = place.run()
        call = orders.failed
        orders.give()
        if call is None:
            break
        call = call.replace(str(folder), "")
        found.injected += 1
        found.codes[code] = found.codes.get(code, 0) + 1
        clean_like = code if code in (0, 3, 5) else clean
        wrong = list(offences(place, code, clean_like, call, error))
        said = place.said
        again = place.run()
        if again not in (0, 3, 5) and not (scenario.argv[:1] == ("init-baselines",) and again == 1):
            wrong.append(f"the next one ended with {again}: {place.said[-300:]}")
        found.offences += [f"call {at}, {call}, {name}: {one}\n{said[-600:]}" for one in wrong]
        at = max(at + every, at * 11 // 10 if at > EACH else 0)
    return found


def prepared(work: Path) -> Path:
    """A folder in which something was measured before."""
    folder = work / "before"
    (folder / "tmp").mkdir(parents=True)
    place = Place(folder, Scenario(RUN))
    if place.run() not in (0, 3):
        raise SystemExit(place.said)
    next((folder / "out").glob("results-*.json")).rename(folder / "earlier.json")
    shutil.rmtree(folder / "out")
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--errors", default=",".join(ERRORS), help=f"of {', '.join(ERRORS)}")
    parser.add_argument("--every", type=int, default=1, help="only every n-th call")
    parser.add_argument("--first", type=int, default=1, help="the first that fails")
    arguments = parser.parse_args()
    if "FAILING_CALLS" not in os.environ:
        work = Path(tempfile.mkdtemp(prefix="failing-"))
        own = {**os.environ, **preloaded(work), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            return subprocess.run([sys.executable, *sys.argv], env=own).returncode
        finally:
            shutil.rmtree(work, ignore_errors=True)
    work = Path(os.environ["FAILING_CALLS"]).parent
    orders = Orders(work / "orders")
    names = arguments.only.split(",") if arguments.only else list(SCENARIOS)
    trial = work / "trial"
    (trial / "tmp").mkdir(parents=True)
    for name in names:
        place = Place(trial, SCENARIOS[name])
        import_all(place.call, cwd=trial, variables=place.variables)
    before = prepared(work)
    wrong = 0
    for name in names:
        for error in arguments.errors.split(","):
            found = tried(SCENARIOS[name], error, orders, work, before, arguments.every, arguments.first)
            codes = ", ".join(f"{count} ended with {code}" for code, count in sorted(found.codes.items()))
            print(f"{name}, {error}: {found.calls} calls, {found.injected} made to fail: {codes}", flush=True)
            for one in found.offences:
                print(f"  {one}", flush=True)
            wrong += len(found.offences)
    print(f"{wrong} of them were not taken as they should be" if wrong else "all were taken as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
