"""What the tests run of the C and of the Python, by line and by branch: ``python tests/covered.py``.

Works on a copy, whose extension and C tests count what they run.  Needs gcc, and ``pip install coverage gcovr``.
``--markdown FILE`` also writes both tables, by room; other arguments go to pytest [TESTS].
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LEFT = (".git", "*.so", "__pycache__", "build", "*.egg-info", ".*_cache", ".venv", "test-results")
"""What is made, or no part of the project."""
TESTS = ["tests/unit", "tests/truth/test_five_phases.py"]
LOW = 85.0
SAID = 3000

Row = tuple[str, int, int, int, int]
"""A file, and of its lines and of its branches those that were run and all."""


def main() -> int:
    """Prints both tables; 1 when a test failed, whose figures are printed all the same, but not written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options, tests = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="perfsuite-coverage-") as folder:
        copy = Path(folder).resolve()
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT), dirs_exist_ok=True)
        build(copy)
        failed = run_c(copy)
        failed += run_python(copy, tests or TESTS)
        found = {"C": of_c(copy), "Python": of_python(copy)}
    for title, rows in found.items():
        show(title, rows)
    if options.markdown and not failed:
        options.markdown.write_text(page(found, tests or TESTS), encoding="utf-8")
    for name in failed:
        print(f"FAILED: {name}", file=sys.stderr)
    return 1 if failed else 0


def build(copy: Path) -> None:
    """The extension, in place, with counters."""
    environment = {**os.environ, "PERFSUITE_BUILD": "cov"}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=copy, env=environment, check=True)


def run_c(copy: Path) -> list[str]:
    """Builds and runs each plain C test beside counters of its own; returns those that failed."""
    failed = []
    sources = sorted(str(path) for part in ("core", "wire") for path in (copy / "csrc" / part).glob("*.c"))
    for test in sorted((copy / "tests/c").glob("test_*.c")):
        place = copy / "counted" / test.stem
        place.mkdir(parents=True)
        includes = [f"-I{copy / part}" for part in ("csrc/core", "csrc/wire", "tests/c")]
        command = ["gcc", "-std=c11", "-D_GNU_SOURCE", "-O0", "-g", "--coverage", *includes, str(test), *sources]
        subprocess.run([*command, "-o", str(place / "test"), "-lm", "-lpthread"], cwd=place, check=True)
        done = subprocess.run([place / "test"], cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            failed.append(f"{test.name}: {(done.stdout + done.stderr)[-SAID:]}")
    return failed


def run_python(copy: Path, arguments: list[str]) -> list[str]:
    """Runs pytest under coverage, the processes that tests start too; returns what failed."""
    (copy / "coverage.ini").write_text(
        f"[run]\nbranch = True\nparallel = True\nsource_pkgs = perfsuite\npatch = subprocess\n"
        f"data_file = {copy}/.coverage\n[report]\nexclude_also = if TYPE_CHECKING:\n    class .*Protocol.*:\n"
    )
    command = [
        sys.executable,
        "-m",
        "coverage",
        "run",
        f"--rcfile={copy}/coverage.ini",
        "-m",
        "pytest",
        "-q",
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(copy / "python")}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [f"pytest: {done.stdout[-SAID:]}{done.stderr[-SAID:]}"]


def of_c(copy: Path) -> list[Row]:
    """The files of the core, the engine and the bindings, by gcovr."""
    command = [sys.executable, "-m", "gcovr", "--root", copy, "--filter", "csrc/", "--json-summary", "-"]
    command += ["--gcov-ignore-parse-errors", "--merge-mode-functions=merge-use-line-min", "--exclude-throw-branches"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    keys = ("line_covered", "line_total", "branch_covered", "branch_total")
    return [(one["filename"], *(one[key] for key in keys)) for one in json.loads(done.stdout)["files"]]  # type: ignore[misc]


def of_python(copy: Path) -> list[Row]:
    """The modules of the package, by coverage."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "-q", "--rcfile=coverage.ini"], cwd=copy, check=True)
    target = copy / "coverage.json"
    subprocess.run([*coverage, "json", "-q", "--rcfile=coverage.ini", "-o", target], cwd=copy, check=True)
    files: dict[str, Any] = json.loads(target.read_text())["files"]
    keys = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    return [(name, *(one["summary"][key] for key in keys)) for name, one in sorted(files.items())]  # type: ignore[misc]


def page(found: dict[str, list[Row]], tests: list[str]) -> str:
    """Both tables as Markdown: a row for each room, and the whole."""
    version = ".".join(map(str, sys.version_info[:2]))
    lines = ["# What the tests run", ""]
    lines.append(f"`python tests/covered.py --markdown docs/coverage.md`: {' '.join(tests)}, on CPython {version}.")
    for title, rows in found.items():
        lines += ["", f"## {title}", "", "| room | lines | run | branches | run |", "| --- | --- | --- | --- | --- |"]
        rooms: dict[str, list[Row]] = {}
        for row in rows:
            rooms.setdefault(room(row[0]), []).append(row)
        for name, of_it in [*sorted(rooms.items()), ("**all**", rows)]:
            ran, all_lines, taken, branches = (sum(row[i] for row in of_it) for i in (1, 2, 3, 4))
            cells = f"{all_lines:,} | {share(ran, all_lines):.1f} % | {branches:,} | {share(taken, branches):.1f} %"
            lines.append(f"| {name} | {cells} |")
    return "\n".join(lines) + "\n"


def room(path: str) -> str:
    """The folder of the C, the room of the Python, that a file is in."""
    parts = Path(path).parts
    start = parts.index("perfsuite") + 1 if "perfsuite" in parts else parts.index("csrc") + 1
    return parts[start].removesuffix(".py")


def show(title: str, rows: list[Row]) -> None:
    """The whole, and the files that are below LOW, lowest first."""
    sums = [sum(row[i] for row in rows) for i in (1, 2, 3, 4)]
    print(f"{title}: {share(*sums[:2]):.1f} % of {sums[1]:,} lines, {share(*sums[2:]):.1f} % of {sums[3]:,} branches")
    low = sorted((share(*row[1:3]), row) for row in rows if share(*row[1:3]) < LOW)
    for lines, (name, _, _, taken, branches) in low:
        print(f"  {name:<48} {lines:5.1f} % of lines, {share(taken, branches):5.1f} % of branches")


def share(part: int, whole: int) -> float:
    """In percent; of nothing all."""
    return 100.0 * part / whole if whole else 100.0


if __name__ == "__main__":
    sys.exit(main())
