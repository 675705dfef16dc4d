"""Files from strangers: ``python tests/fuzz/files.py [--cases 2000] [--seed 0] [result plan …]``.

Real files of every kind that perfsuite reads are damaged by seeded mutations (cut off, bits turned, pieces doubled,
numbers beyond any range, text nested ten thousand deep, values of another type) and given to each command that reads
them.  Whatever is in a file, the command ends by itself with a documented code, never with a traceback, within bounds
of memory and CPU time, and where it refuses the file it names it.  What offends is kept in ``--keep``, and ends
this with 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MEMORY_BYTES = 3 << 30
"""Of address space; a run of the reports has reserved half of it before it reads anything."""
CPU_S = 60
LONGEST = 1 << 20
REFUSED = (1, 2)
DOCUMENTED = {0, 1, 2, 3, 4, 5}


# ── mutations ─────────────────────────────────────────────────────────────────────────────────────────────────────────

ODD: list[object] = [
    None, True, -1, 0, 1e308, -1e308, 5e-324, 2**63, 10**400, "", "\0", "x" * 100_000, "../../../etc/passwd", "1e999",
    "<script>alert(1)</script>", "\ud800", [], {}, [[]], {"": None}, [None] * 10_000,
]  # fmt: skip
WORDS = [b"NaN", b"Infinity", b"-0", b"1e999", b"9" * 5000, b"null", b"\"", b"{", b"[" * 10_000, b"\xff\xfe", b"\0",
         b"inf", b"nan", b"1979-05-27", b"[[phases]]\n", b"'''"]  # fmt: skip


def of_bytes(data: bytes, draw: random.Random) -> bytes:
    """Cut, turned, doubled, or with something in it that does not belong there."""
    at, end = sorted((draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)))
    match draw.randrange(7):
        case 0:
            return data[:at]
        case 1:
            turned = bytearray(data)
            for _ in range(draw.choice([1, 3, 30])):
                turned[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            return bytes(turned)
        case 2:
            return data[:at] + data[end:]
        case 3:
            return (data[:end] + data[at:end] * draw.choice([1, 10]) + data[end:])[: 10 * LONGEST]
        case 4:
            return data[:at] + draw.choice(WORDS) + data[at:]
        case 5:
            return data[:at] + bytes(min(end - at, 4096)) + data[end:]
        case _:
            return data[:at] + draw.randbytes(draw.choice([1, 8, 512])) + data[end:]


def of_json(data: bytes, draw: random.Random) -> bytes:
    """One value of it is another, is gone, or is there many times; sometimes its bytes are damaged instead."""
    if draw.random() < 0.3:
        return of_bytes(data, draw)
    whole = json.loads(data)
    for _ in range(draw.choice([1, 1, 2, 5])):
        here, keys = whole, list[object]()
        while isinstance(here, dict | list) and here and (not keys or draw.random() < 0.8):
            keys.append(draw.choice(list(here) if isinstance(here, dict) else range(len(here))))
            last, here = here, here[keys[-1]]  # type: ignore[call-overload,index]
        if not keys:
            return of_bytes(data, draw)
        match draw.randrange(6):
            case 0:
                del last[keys[-1]]
            case 1 if isinstance(last, list):
                last.extend([here] * draw.choice([1, 10, 1000]))
            case 2:
                last[keys[-1]] = nested(here, draw.choice([1, 50, 500]))
            case 3 if isinstance(here, int | float) and abs(here) < 1e300:
                last[keys[-1]] = draw.choice([-here, here * 1e300, str(here), here + 0.5])
            case _:
                last[keys[-1]] = draw.choice(ODD)
    try:
        return json.dumps(whole).encode("utf-8", "surrogatepass")
    except RecursionError:  # as deep as that, several times over
        return of_bytes(data, draw)


def nested(value: object, depth: int) -> object:
    """In so many lists."""
    for _ in range(depth):
        value = [value]
    return value


def of_toml(data: bytes, draw: random.Random) -> bytes:
    """The value of a line is another, a line is there twice, or gone; sometimes its bytes are damaged instead."""
    if draw.random() < 0.3:
        return of_bytes(data, draw)
    lines = data.split(b"\n")
    for _ in range(draw.choice([1, 1, 3])):
        at = draw.randrange(len(lines))
        key, equals, value = lines[at].partition(b"=")
        match draw.randrange(4):
            case 0:
                del lines[at : at + draw.choice([1, 4])]
                lines = lines or [b""]
            case 1:
                lines.insert(draw.randrange(len(lines) + 1), lines[at])
            case _ if equals:
                odd = draw.choice(ODD)
                said = json.dumps(odd) if odd is not None else draw.choice(['"none"', "nan", "inf", "-inf", "0x10"])
                lines[at] = key + equals + draw.choice([said.encode("utf-8", "surrogatepass"), value, value + value])
            case _:
                lines[at] = draw.choice(WORDS)
    return b"\n".join(lines)


# ── what is read ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Reader:
    """``seeds()``: real files by name; ``commands``: perfsuite's arguments or a call, of the damaged file."""

    seeds: Callable[[], dict[str, bytes]]
    mutate: Callable[[bytes, random.Random], bytes]
    commands: tuple[Callable[[Path], Sequence[str] | Callable[[], object]], ...]


ROOT = Path(__file__).resolve().parents[2]
PLAN = b"""target = "reference"
seed = 3
duration = "2s"
concurrency = 4
rate = 10.5
threshold = ["load.response_time.p95<500ms"]
max_requests = 100

[[phases]]
name = "soak"
duration = "1h"
metrics = ["response_time", "error_rate"]
success_criteria = { response_time = { value = 2000, comparison = "<", critical = true }, error_rate = 0.01 }

[[phases]]
name = "load"
concurrency = 20
"""
TEMPLATE = b"""base = "http://127.0.0.1:2024"
[[setup]]
per = "conversation"
request = { method = "POST", path = "/threads", json = { a = 1 } }
capture = { thread_id = "$.thread_id" }
[request]
method = "POST"
path = "/threads/{thread_id}/runs/stream"
json = { input = { messages = [{ role = "user", content = "{message}" }] } }
[stream]
kind = "sse"
event = "values"
text = "$.messages[-1].content"
mode = "cumulative"
usage = "$.usage"
error = ["$.error", "$.ok=false"]
[headers]
X = "{env:HOME}"
"""
QUERIES = b"""[[queries]]
name = "newest"
sql = "SELECT * FROM messages WHERE session_id = :session ORDER BY created_at DESC LIMIT 20"
parameters = { session = [1, 2, 3] }
"""
TALK = b"".join(
    json.dumps({"messages": [{"role": role, "content": f"{role} says {n}"} for role in ("user", "assistant")] * 3})
    .encode() + b"\n" for n in range(20)
)  # fmt: skip


def results() -> dict[str, bytes]:
    from perfsuite.result import dump
    from results_made import full

    golden = ROOT / "tests/golden"
    return {"made.json": dump(full()), **{path.name: path.read_bytes() for path in golden.glob("result-v1-*.json")}}


def logs() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (ROOT / "tests/golden/realtime").glob("*.json")}


def baselines() -> dict[str, bytes]:
    from perfsuite.cli import main

    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "results-20261121_101500.json")
        result.write_bytes(comparable())
        with contextlib.redirect_stdout(None):
            code = main(["init-baselines", str(result)])
        made = {path.name: path.read_bytes() for path in Path(folder, "baselines").glob("*.json")}
    assert made, code
    return made


def comparable() -> bytes:
    """A result that passed, so that there is something to compare with."""
    return (ROOT / "tests/golden/result-v1-full.json").read_bytes()


def histories() -> dict[str, bytes]:
    from perfsuite.history.store import History
    from perfsuite.result import load

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "history.db")
        with History(str(file)) as history:
            history.record(load(ROOT / "tests/golden/result-v1-full.json"))
        return {"history.db": file.read_bytes()}


def stores() -> dict[str, bytes]:
    from perfsuite.monitor.store import Fold, Store

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "monitor.db")
        store = Store(file, "reference", most_bytes=1 << 20)
        fold = Fold()
        for n in range(50):
            fold.add("ok", {"response_time": 10.0 + n, "ttft": 5.0})
        fold.add("timeout", {})
        store.add({1000: fold, 1060: fold}, 1100.0)
        store.close()
        return {"monitor.db": file.read_bytes()}


def caches() -> dict[str, bytes]:
    import perfsuite

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cache")
        with perfsuite.EmbeddingCache(file) as cache:
            for n in range(50):
                cache.put(f"text {n}", [float(n)] * 16)
        return {"cache": file.read_bytes()}


def use_store(path: Path) -> Callable[[], object]:
    def use() -> None:
        from perfsuite.monitor.store import MINUTE, Store

        store = Store(path, "reference", most_bytes=1 << 20)
        store.spans(MINUTE, 0.0)
        store.alarms()
        store.close()

    return use


def use_cache(path: Path) -> Callable[[], object]:
    def use() -> None:
        import warnings

        import perfsuite

        warnings.simplefilter("ignore")  # "it was set aside as …"
        with perfsuite.EmbeddingCache(path) as cache:
            cache.get("text 1")
            cache.put("more", [1.0] * 16)

    return use


def use_numbers(path: Path) -> Callable[[], object]:
    def use() -> None:
        import perfsuite

        result = perfsuite.load(path)
        result._repr_html_()
        perfsuite.compare(result, perfsuite.load(ROOT / "tests/golden/result-v1-full.json"))

    return use


def use_queries(path: Path) -> Callable[[], object]:
    def use() -> None:
        from perfsuite.database.queries import read_queries

        read_queries(path)

    return use


def beside(path: Path) -> Path:
    """A good result, whose baseline the damaged file is."""
    folder = path.parent / "good"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "baselines").mkdir(parents=True)
    shutil.copy(path, folder / "baselines" / path.name)
    good = folder / "results-20261121_101500.json"
    good.write_bytes(comparable())
    return good


EXPORTED = ("-f", "csv", "-f", "series-csv", "-f", "junit", "-f", "prometheus")
READERS = {
    "result": Reader(
        results, of_json,
        (
            lambda path: ["report", str(path), "-o", str(path.parent / "again")],
            lambda path: ["report", str(path), *EXPORTED, "-o", str(path.parent / "again")],
            lambda path: ["history", "add", str(path), "--history", str(path.parent / "new.db")],
            lambda path: ["init-baselines", str(path)],
            lambda path: ["plan", "--predict", "10", "--result", str(path)],
            use_numbers,
        ),
    ),
    "baseline": Reader(baselines, of_json, (lambda path: ["detect", str(beside(path))],)),
    "plan": Reader(lambda: {"plan.toml": PLAN}, of_toml, (lambda path: ["plan", "--plan", str(path)],)),
    "template": Reader(
        lambda: {"template.toml": TEMPLATE}, of_toml, (lambda path: ["plan", "--target", f"template:{path}"],)
    ),
    "queries": Reader(
        lambda: {"queries.toml": QUERIES}, of_toml, (use_queries,)
    ),
    "conversations": Reader(lambda: {"talk.jsonl": TALK}, of_bytes, (lambda path: ["tokens", str(path)],)),
    "history": Reader(
        histories, of_bytes,
        (
            lambda path: ["history", "list", "--history", str(path)],
            lambda path: ["history", "trend", "--all-hosts", "--all", "--history", str(path)],
            lambda path: ["history", "export", "--history", str(path)],
            lambda path: ["history", "add", str(ROOT / "tests/golden/result-v1-empty.json"), "--history", str(path)],
        ),
    ),
    "logs": Reader(logs, of_json, (lambda path: ["report", str(path), "-o", str(path.parent / "again")],)),
    "store": Reader(stores, of_bytes, (use_store,)),
    "cache": Reader(caches, of_bytes, (use_cache,)),
}  # fmt: skip


# ── one case ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def ended(work: Path, doing: Sequence[str] | Callable[[], object]) -> tuple[int, str]:
    """The code (of a signal: negative) of what a process of its own did, and all that it said."""
    said = work / "said"
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 70
        try:
            code = _in_child(said, work, doing)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")


def _in_child(said: Path, work: Path, doing: Sequence[str] | Callable[[], object]) -> int:
    import traceback

    from perfsuite.cli import main

    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout = sys.stderr = os.fdopen(out, "w", buffering=1)
    os.chdir(work)
    os.environ.update(HOME=str(work), PERFSUITE_HISTORY=str(work / "own.db"))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not callable(doing):
        return main(list(doing))
    from perfsuite.errors import PerfsuiteError

    try:
        doing()
    except (PerfsuiteError, OSError) as error:
        print(f"perfsuite: {error}")
        return getattr(error, "exit_code", 1)
    except Exception:  # noqa: BLE001 - what the tests look for
        traceback.print_exc()
        return 70
    return 0


def warm(names: Sequence[str]) -> None:
    """Takes each real file as it is, in this process: what that imports is there for all that are forked."""
    from perfsuite.errors import PerfsuiteError

    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nothing:
        os.environ.update(PERFSUITE_HISTORY=str(Path(folder, "own.db")))
        for name in names:
            for file, data in READERS[name].seeds().items():
                path = Path(folder, file)
                path.write_bytes(data)
                for command in READERS[name].commands:
                    doing = command(path)
                    with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
                        if callable(doing):
                            with contextlib.suppress(PerfsuiteError):  # nothing there to compare
                                doing()
                        else:
                            from perfsuite.cli import main

                            main(list(doing))


def offence(code: int, said: str, name: str) -> str | None:
    """What is wrong with how a file was taken, or None."""
    if "Traceback" in said or "internal error" in said:
        return "a traceback" if "Traceback" in said else "an internal error"
    if code < 0:
        return f"ended by signal {-code}: hung, or beyond the memory"
    if code not in DOCUMENTED:
        return f"ended with {code}"
    if code in REFUSED and name not in said:
        return f"ended with {code} and did not name the file"
    return None


def cases(names: Sequence[str], number: int, seed: int) -> Iterator[tuple[str, int, str, bytes]]:
    """So many damaged files, those of each kind in turn: the kind, the case's number, the file's name and its bytes."""
    seeds = {name: READERS[name].seeds() for name in names}
    for case in range(number):
        kind = names[case % len(names)]
        draw = random.Random(f"{seed} {kind} {case}")
        name = draw.choice(sorted(seeds[kind]))
        data = seeds[kind][name]
        yield kind, case, name, READERS[kind].mutate(data, draw) or b"\n"


def fuzzed(names: Sequence[str], number: int, seed: int, keep: Path | None = None) -> list[str]:
    """What was found, a line each."""
    found = []
    warm(names)
    work = Path(tempfile.mkdtemp(prefix="fuzzed-"))
    try:
        for kind, case, name, data in cases(names, number, seed):
            for at, command in enumerate(READERS[kind].commands):
                folder = work / "case"
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                path = folder / name
                path.write_bytes(data)
                code, said = ended(folder, command(path))
                wrong = offence(code, said, name)
                if wrong is not None:
                    found.append(f"{kind}, case {case}, command {at}: {wrong}\n{said[-1500:]}")
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        (keep / f"{kind}-{case}-{name}").write_bytes(data)
    finally:
        shutil.rmtree(work)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="KIND", help=f"of {', '.join(READERS)} [all]")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, default=ROOT / "tests/fuzz/corpus/files", help="where what offends is kept"
    )
    arguments = parser.parse_args()
    found = fuzzed(arguments.names or list(READERS), arguments.cases, arguments.seed, arguments.keep)
    print("\n".join(found) or f"{arguments.cases} damaged files, none of them harmed anything")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
