"""Finds the C compilers and builds the plain C tests and fuzzers with them."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
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


INCLUDES = [f"-I{ROOT / 'csrc/core'}", f"-I{ROOT / 'csrc/wire'}", f"-I{ROOT / 'tests/c'}"]


@cache
def core_objects(compiler: str, flags: tuple[str, ...]) -> list[str]:
    """The whole core compiled with these flags, once in a run of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="perfsuite-core-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    def compiled(source: str) -> str:
        target = folder / f"{Path(source).stem}.o"
        compile_c(compiler, *flags, "-c", source, "-o", str(target))
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compiled, core_sources()))


def compile_c(compiler: str, *arguments: str) -> None:
    """Runs a compiler with the project's warnings as errors; AssertionError with its words when it fails."""
    command = [compiler, *WARNINGS, "-g", "-D_GNU_SOURCE", *INCLUDES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr}"


def build(compiler: str, source: Path, output: Path, *flags: str) -> None:
    """Compiles one test file and links it with the whole core."""
    compile_c(compiler, *flags, str(source), *core_objects(compiler, flags), "-o", str(output), "-lm", "-lpthread")
