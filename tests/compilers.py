"""Finds the C compilers and builds the plain C tests and fuzzers with them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]


def compilers() -> list[str]:
    """Names of the C compilers on this machine."""
    return [name for name in ("gcc", "clang") if shutil.which(name)]


def core_sources() -> list[str]:
    """The core's and the wire engine's C files: everything that needs no Python.h."""
    return sorted(str(path) for folder in ("core", "wire") for path in (ROOT / "csrc" / folder).glob("*.c"))


def build(compiler: str, source: Path, output: Path, *flags: str) -> None:
    """Compiles one test file with the whole core into a binary; raises AssertionError with the compiler's words."""
    command = [
        compiler, *WARNINGS, "-g", "-O1", "-D_GNU_SOURCE", *flags,
        f"-I{ROOT / 'csrc/core'}", f"-I{ROOT / 'csrc/wire'}", f"-I{ROOT / 'tests/c'}",
        str(source), *core_sources(), "-o", str(output), "-lm", "-lpthread",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{compiler} on {source.name}:\n{done.stderr}"
