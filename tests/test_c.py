"""Runs every plain C test under the address and undefined-behaviour sanitizers, with each compiler here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from compilers import ROOT, SANITIZE, build, compilers

SOURCES = sorted((ROOT / "tests/c").glob("test_*.c"))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_c(source: Path, compiler: str, tmp_path: Path) -> None:
    if compiler not in compilers():
        pytest.skip(f"{compiler} is not installed: apt-get install {compiler}")
    binary = tmp_path / source.stem
    build(compiler, source, binary, "-O1", *SANITIZE)
    done = subprocess.run([binary], capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"})  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert ", 0 failed" in done.stdout
