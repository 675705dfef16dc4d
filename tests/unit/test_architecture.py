"""The arrows and the sizes that ARCHITECTURE.md promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python/perfsuite"

LAYERS = [
    {"cli", "pytest_plugin", "__main__"},
    {"api", "benchmarking", "comparison_benchmark"},
    {"runner", "configuration", "sources", "concerned", "live", "monitor"},
    {"reports", "charts"},
    {"suites", "serve"},
    {"history", "discovery", "cluster"},
    {"loadgen", "collectors", "analysis", "realtime", "selfchecks", "environment"},
    {"workloads"},
    {"targets"},
    {"memory", "database"},
    {"chatloop"},
    {"reference"},
    {"result", "evidence", "phases", "criteria", "plan", "exports"},
    {"metric", "settings"},
    {"units", "values", "trimming", "limits", "embeddings", "compression", "preservation", "stats", "statistic"},
    {"frames", "plugins", "errors", "atomic", "heap", "process_tree", "pythonpath", "scratch", "tiktoken_files"}
    | {"_core", "__init__", "data"},
]
"""From the top to the bottom: a module imports only from its own layer and from those below."""

REFERENCE_MAY_KNOW = {"_core", "errors", "scratch", "trimming", "limits", "embeddings", "compression"}
C_MAY_KNOW = {
    "pfs_events": {"pfs_bytes", "pfs_histogram"},
    "pfs_hdr": {"pfs_histogram"},
    "pfs_http": {"pfs_bytes"},
    "pfs_stream": {"pfs_bytes"},
    "pfs_vectors": {"pfs_lru"},
}


def room(path: Path) -> str:
    """The top-level name that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name: str) -> int:
    """The index of its layer; fails for a room that is in none."""
    for index, names in enumerate(LAYERS):
        if name in names:
            return index
    raise AssertionError(f"{name} is in no layer: give it one here and in ARCHITECTURE.md")


def imports(path: Path) -> set[str]:
    """The rooms that a file imports, those for types included: they too tell what it knows."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "perfsuite" and len(parts) > 1 and not parts[1].startswith("__"):
                found.add(parts[1])
    return {name for name in found if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()}


def wrong_arrows(files: list[Path]) -> list[str]:
    """Every import that points up, or to a room that the importing one may not know."""
    wrong = []
    for path in files:
        if path == PACKAGE / "__init__.py":
            continue  # the public names, loaded lazily: it points at everything
        here = room(path)
        for there in sorted(imports(path) - {here}):
            up = layer(there) < layer(here)
            unknown = (here == "targets" and there == "analysis") or (
                here == "reference" and there not in REFERENCE_MAY_KNOW
            )
            if up or unknown:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {there}")
    return wrong


def test_arrows_point_down() -> None:
    assert wrong_arrows(sorted(PACKAGE.rglob("*.py"))) == []


def test_an_arrow_that_points_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, **kw: "from perfsuite.runner import execute_async\n")
    assert wrong_arrows([PACKAGE / "plan.py"]) == ["plan.py imports runner"]
    monkeypatch.setattr(Path, "read_text", lambda self, **kw: "from perfsuite import analysis\n")
    assert wrong_arrows([PACKAGE / "targets" / "base.py"]) == ["targets/base.py imports analysis"]


def c_includes(text: str) -> set[str]:
    """The modules of the project's headers that a C file includes: pfs_stats_rank belongs to pfs_stats."""
    return {"_".join(name.split("_")[:2]) for name in re.findall(r'#include "(pfs_\w+)\.h"', text)}


@pytest.mark.parametrize("path", sorted((ROOT / "csrc/core").glob("*.[ch]")), ids=lambda path: path.name)
def test_core_files_stand_alone(path: Path) -> None:
    own = "_".join(path.stem.split("_")[:2])
    text = path.read_text(encoding="utf-8")
    assert c_includes(text) <= {"pfs_status", "pfs_alloc", "pfs_clock", "pfs_rng", own} | C_MAY_KNOW.get(own, set())
    assert "Python.h" not in text


@pytest.mark.parametrize(("pattern", "limit"), [("csrc/*/*.[ch]", 650), ("python/**/*.py", 430)])
def test_files_are_readable(pattern: str, limit: int) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.glob(pattern)}
    assert lengths
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > limit} == {}


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them by base name, and two of one name stop the collection of everything."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert names
    assert {name for name in names if names.count(name) > 1} == set()


def _section(title: str) -> str:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_arrows_are_drawn_as_they_are_checked() -> None:
    drawn = _section("Arrows").partition("```\n")[2].partition("```")[0].replace("and the public parts:", "")
    layers = [set(re.findall(r"\w+", line)) for line in drawn.splitlines()]
    assert layers == [names - {"__main__", "__init__", "data"} for names in LAYERS]


def test_the_house_has_a_line_for_every_module() -> None:
    modules = {room(path) for path in PACKAGE.rglob("*.py")} - {"__main__"}
    assert len(modules) > 20
    house = _section("The house")
    assert [name for name in sorted(modules) if not re.search(rf"\b{name}(\.py|/)", house)] == []


def _rows() -> list[str]:
    table = _section("Where things go")
    return [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| ---")][1:]


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row.split("|")[1].strip())
def test_what_the_table_names_is_there(row: str) -> None:
    named = [name for name in re.findall(r"`([^`]+)`", row) if "/" in name or name.endswith((".py", ".toml"))]
    found = {name: [*PACKAGE.glob(name.rstrip("/")), *ROOT.glob(name.rstrip("/"))] for name in named}
    assert [name for name, paths in found.items() if not paths] == []
    text = "".join(
        path.read_text(encoding="utf-8")
        for paths in found.values()
        for path in paths
        if path.is_file() and path.suffix in (".py", ".toml")
    )
    constants = re.findall(r"\b[A-Z][A-Z_]{3,}\b", row)
    assert [name for name in constants if not re.search(rf"^{name}\b", text, re.MULTILINE)] == []


def test_docstrings_name_files_that_are_there() -> None:
    known = {path.name for path in ROOT.rglob("*.py")}
    gone = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                named = re.findall(r"[\w/]+\.py\b", ast.get_docstring(node) or "")
                gone += [f"{path.name}: {name}" for name in named if name.split("/")[-1] not in known]
    assert gone == []


def circle(known: dict[str, set[str]]) -> list[str]:
    """Rooms that know each other, by whatever way round; none where arrows only lead away."""
    left = dict(known)
    while ends := [name for name, others in left.items() if not others & left.keys()]:
        for name in ends:
            del left[name]
    return sorted(left)


def test_no_two_rooms_know_each_other() -> None:
    known: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py" or path.parent != PACKAGE:  # the public names point at everything
            known.setdefault(room(path), set()).update(imports(path) - {room(path)})
    assert circle(known) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]
