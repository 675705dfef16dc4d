"""A short, seeded run of every fuzzer; the deep run is `python tests/fuzz/deep.py`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from compilers import ROOT, build

SOURCES = sorted((ROOT / "tests/fuzz").glob("fuzz_*.c"))


@pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang: apt-get install clang libclang-rt-14-dev")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_fuzz(source: Path, tmp_path: Path) -> None:
    binary = tmp_path / source.stem
    build("clang", source, binary, "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-O2")
    seeds = ROOT / "tests/fuzz/corpus" / source.stem.removeprefix("fuzz_")
    found = tmp_path / "corpus"
    found.mkdir()
    command = [str(binary), "-runs=20000", "-seed=1", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024",
               f"-artifact_prefix={tmp_path}/", str(found), *([str(seeds)] if seeds.is_dir() else [])]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-6000:]
    assert "Done 20000 runs" in done.stderr, done.stderr[-2000:]
