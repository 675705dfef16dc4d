"""The tests of the C, on a CPython that is built for them: ``python tests/interpreters.py free-threaded``.

Builds CPython from source, once, in ``--folder``: ``free-threaded`` (no GIL), ``debug`` (with CPython's own assertions)
or ``free-threaded-debug``; then the extension for it, warnings as errors, and runs the tests, those of threads with
their negative controls.  On a free-threaded one the GIL is off whatever is imported.  The source is Debian's source
package (apt-get, as root or not), or ``--source FILE``, an archive of CPython 3.13 or later.  Building wants what
CPython wants: ``apt-get install gcc make libssl-dev libsqlite3-dev zlib1g-dev libffi-dev``.  Arguments after ``--`` go
to pytest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = {
    "free-threaded": ["--disable-gil"],
    "debug": ["--with-pydebug"],
    "free-threaded-debug": ["--disable-gil", "--with-pydebug"],
}
SUITE, KEYS = "trixie", "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGE = "python3.13"
NEEDED = ("setuptools>=77", "pytest>=8", "numpy", "hypothesis<6.130")  # later hypotheses want a compiler of Rust
PARTS = ("csrc", "python", "tests", "setup.py", "pyproject.toml", "conftest.py", "README.md", "LICENSE")
THREADS = [f"tests/isolated/test_{name}_threads.py" for name in ("histogram", "lru", "limits", "events")]
CORE = ("histogram", "lru", "limits", "events", "stopwatch", "operations", "trimming", "stats", "arrivals", "stream")
ISOLATED = ("lru_reentrancy", "lru_leaks", "events_memory", "torture", "subinterpreters", "fork")


def run(*command: str | Path, cwd: Path, **variables: str) -> None:
    """SystemExit when it fails; what it says is shown."""
    words = [str(part) for part in command]
    print("+", " ".join(words), flush=True)
    done = subprocess.run(words, cwd=cwd, env={**os.environ, **variables}, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} ended with {done.returncode}")


def mirror() -> str:
    """Where this machine has its Debian packages from, as in a line of sources.list."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"no source packages by apt-get ({error}): name an archive with --source") from error
    targets = [line.split("|") for line in said.splitlines()]
    found = [uri for origin, uri in targets if origin == "Debian" and "security" not in uri]
    if not found:
        raise SystemExit("this machine has no packages of Debian's: name an archive of CPython's source with --source")
    return f"[signed-by={KEYS}] {found[0]}"


def source(folder: Path) -> Path:
    """The archive of Debian's source package, fetched with lists of our own."""
    apt = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "source"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(f"deb-src {mirror()} {SUITE} main\n")
    (apt / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{apt}/sources.list";\nDir::Etc::SourceParts "-";\n'
        f'Dir::State::Lists "{apt}/lists";\nDir::Cache "{apt}/cache";\nAPT::Sandbox::User "";\n'
    )
    own = {"APT_CONFIG": str(apt / "apt.conf")}
    run("apt-get", "update", "-qq", cwd=apt, **own)
    run("apt-get", "source", "-qq", "--download-only", "--tar-only", PACKAGE, cwd=apt / "source", **own)
    return max((apt / "source").glob("*.orig.tar.*[!c]"), key=lambda path: path.stat().st_mtime)


def interpreter(kind: str, folder: Path, archive: Path | None) -> Path:
    """The Python of that kind, built where it is not there yet."""
    place = folder / kind
    found = sorted((place / "bin").glob("python3.[0-9]*[0-9td]"))
    if found:
        return found[0]
    tree = folder / f"{kind}-source"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.unpack_archive(archive or source(folder), tree, filter="data")
    (top,) = tree.iterdir()
    run("sh", "configure", "-q", f"--prefix={place}", *KINDS[kind], cwd=top, CFLAGS="-O2")
    run("make", "-s", f"-j{os.cpu_count()}", cwd=top)
    run("make", "-s", "install", cwd=top)
    shutil.rmtree(tree)
    return sorted((place / "bin").glob("python3.[0-9]*[0-9td]"))[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache/perfsuite/interpreters")
    parser.add_argument("--source", type=Path, help="an archive of CPython's source")
    parser.add_argument("--python", type=Path, help="one that is built already")
    parser.add_argument("tests", nargs="*", help="for pytest [the tests of threads and of the core]")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = options.python or interpreter(options.kind, folder, options.source)
    free = "free-threaded" in options.kind
    with tempfile.TemporaryDirectory(prefix="perfsuite-interpreter-") as work:
        copy, own = Path(work) / "project", Path(work) / "own"
        run(python, "-m", "venv", own, cwd=folder)
        python = own / "bin/python"
        run(python, "-m", "pip", "install", "-q", "--only-binary", ":all:", *NEEDED, cwd=folder)
        for name in PARTS:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
            else:
                shutil.copy(ROOT / name, copy / name)
        run(python, "setup.py", "-q", "build_ext", "--inplace", cwd=copy, CFLAGS="-Werror")
        variables = {"PYTHONPATH": str(copy / "python"), **({"PYTHON_GIL": "0"} if free else {})}
        check = f"import sys, perfsuite._core; assert getattr(sys, '_is_gil_enabled', lambda: True)() is {not free}"
        run(python, "-c", check, cwd=copy, **variables)
        tests = options.tests or [
            *THREADS,
            *(f"tests/unit/test_{name}.py" for name in CORE),
            *(() if free else (f"tests/isolated/test_{name}.py" for name in ISOLATED)),
        ]
        run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=copy, **variables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
