"""What can be said of the sources without running them: types, stubs, style, exported symbols."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import perfsuite._core
from compilers import ROOT, WARNINGS, compilers

C_FILES = sorted([*ROOT.glob("csrc/*/*.[ch]"), *ROOT.glob("tests/c/*.[ch]"), *ROOT.glob("tests/fuzz/*.[ch]")])


def run(*command: str | Path) -> str:
    """Runs a command from the project's root; fails with its words when it does."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{' '.join(map(str, command[:4]))} …:\n{done.stdout[-8000:]}{done.stderr[-8000:]}"
    return done.stdout


def test_types() -> None:
    run(sys.executable, "-m", "mypy", "--strict", "python/perfsuite")


def test_stub_matches_the_extension() -> None:
    run(sys.executable, "-m", "mypy.stubtest", "perfsuite._core", "--ignore-disjoint-bases",
        "--allowlist", "tests/stubtest.txt", "--ignore-unused-allowlist")  # fmt: skip


@pytest.mark.skipif(shutil.which("ruff") is None and not (Path(sys.executable).parent / "ruff").exists(),
                    reason='needs ruff: pip install "perfsuite[test]"')  # fmt: skip
def test_lint() -> None:
    run(sys.executable, "-m", "ruff", "check", ".")
    run(sys.executable, "-m", "ruff", "format", "--check", ".")


@pytest.mark.skipif(shutil.which("clang-format") is None, reason="needs clang-format: apt-get install clang-format")
def test_c_format() -> None:
    run("clang-format", "--dry-run", "--Werror", *C_FILES)


def test_only_the_init_symbol_is_exported() -> None:
    library = perfsuite._core.__file__
    assert library is not None
    symbols = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()]
    ours = [name for name in symbols if not name.startswith(("_init", "_fini", "__", "_edata", "_end"))]
    assert ours == ["PyInit__core"]


def test_the_extension_does_not_say_where_it_was_built(tmp_path: Path) -> None:
    """So that it is the same wherever it is; the negative control is built without the map of its folder."""
    library = perfsuite._core.__file__
    assert library is not None
    assert str(ROOT).encode() not in Path(library).read_bytes(), "was it built before setup.py changed?"
    (tmp_path / "told.c").write_text("int told(void);\nint told(void) { return 1; }\n", encoding="utf-8")
    for options, seen in (((), True), ((f"-ffile-prefix-map={tmp_path}=.",), False)):
        made = subprocess.run(["cc", "-g1", *options, "-c", "told.c", "-o", "told.o"], cwd=tmp_path, check=False)
        assert made.returncode == 0
        assert (str(tmp_path).encode() in (tmp_path / "told.o").read_bytes()) is seen


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_extension_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    if compiler not in compilers():
        pytest.skip(f"{compiler} is not installed: apt-get install {compiler}")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-b", tmp_path / "lib", "-t", tmp_path / "objects"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "CC": compiler, "CFLAGS": "-Werror"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8000:]
    assert "-Wconversion" in WARNINGS
    assert "-Wconversion" in (ROOT / "setup.py").read_text(encoding="utf-8")
