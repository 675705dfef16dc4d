"""The tests of everything in C, once more on an extension built with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from compilers import ROOT

SUBJECTS = ("histogram", "stopwatch", "operations", "lru", "embeddings", "trimming", "limits", "stats", "compression",
            "preservation", "arrivals", "events", "stream", "json_scan", "wire", "sealed", "torture")  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: apt-get install gcc")


def runtime(name: str) -> str:
    """The path of one of gcc's sanitizer runtimes."""
    done = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return str(Path(done.stdout.strip()).resolve())


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package whose extension is instrumented."""
    folder = tmp_path_factory.mktemp("sanitized")
    built = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "python/perfsuite", folder / "perfsuite", ignore=built)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-b", str(folder), "-t", str(folder / "objects")],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "PERFSUITE_BUILD": "asan", "CC": "gcc"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8000:]
    return folder


def run(sanitized: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with the instrumented package and the sanitizers' runtimes."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, timeout=1500,
        env={
            **os.environ,
            "PYTHONPATH": f"{sanitized}{os.pathsep}{ROOT / 'tests'}",
            "LD_PRELOAD": f"{runtime('libasan.so')}:{runtime('libubsan.so')}",
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        },
    )  # fmt: skip


def test_under_sanitizers(sanitized: Path) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert (sanitized / "perfsuite" / f"_core{suffix}").exists()
    done = run(sanitized, "-c", "import perfsuite._core as c; print(c.build, c.__file__)")
    assert done.stdout.startswith(f"asan {sanitized}"), done.stderr
    tests = [str(path) for name in SUBJECTS for path in sorted((ROOT / "tests").glob(f"*/test_{name}.py"))]
    assert len(tests) >= len(SUBJECTS)
    done = run(sanitized, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "-x", *tests)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    assert "AddressSanitizer" not in done.stderr
    assert "runtime error" not in done.stderr


def test_sanitizers_would_see_a_fault(sanitized: Path) -> None:
    """The negative control: a write past the end of a block, in such a process, ends it."""
    code = (
        "import perfsuite._core, ctypes; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p;"
        "libc.memset(ctypes.c_void_p(libc.malloc(8)), 0, 9)"
    )
    done = run(sanitized, "-c", code)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
