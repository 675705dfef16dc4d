"""Files appear whole or not at all, and nothing is overwritten."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perfsuite.errors import PerfsuiteError
from perfsuite.exports.files import numbered, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_taken_name_gets_a_counter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    written = [write_atomically(path, str(i).encode()) for i in range(3)]
    assert [p.name for p in written] == ["a.json", "a-2.json", "a-3.json"]
    assert [p.read_bytes() for p in written] == [b"0", b"1", b"2"]
    assert names(tmp_path) == ["a-2.json", "a-3.json", "a.json"]


def test_replace_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    assert write_atomically(path, b"new", replace=True) == path
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


def test_a_dangling_link_in_place_of_the_name_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "elsewhere")
    assert write_atomically(tmp_path / "a.json", b"x").name == "a-2.json"
    assert not (tmp_path / "elsewhere").exists()


def test_threads_at_once_lose_nothing(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda i: write_atomically(tmp_path / "a", str(i).encode()), range(40)))
    assert len(set(written)) == 40
    assert sorted(int(p.read_bytes()) for p in written) == list(range(40))


def test_without_hard_links_nothing_is_overwritten_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    written = [write_atomically(tmp_path / "a.json", str(i).encode()) for i in range(2)]
    assert [p.read_bytes() for p in written] == [b"0", b"1"]
    assert names(tmp_path) == ["a-2.json", "a.json"]


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_failure_leaves_neither_half_a_file_nor_a_temporary_one(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.json"
    path.write_bytes(b"kept")
    if call == "link":
        monkeypatch.setattr(Path, "hardlink_to", full)
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr("perfsuite.atomic.write_new", full)
    with pytest.raises(PerfsuiteError, match=r"a\.json: No space left on device") as caught:
        write_atomically(path, b"new")
    assert caught.value.exit_code == 1
    assert names(tmp_path) == ["a.json"]
    assert path.read_bytes() == b"kept"


def test_a_real_full_disk_is_one_clear_line() -> None:
    """A limit on the size of files stands for the full disk: the write itself fails, half-way."""
    code = (
        "import resource, signal, sys, tempfile, pathlib\n"
        "from perfsuite.exports.files import write_atomically\n"
        "from perfsuite.errors import PerfsuiteError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "try: write_atomically(folder / 'a.json', b'x' * 100_000)\n"
        "except PerfsuiteError as error: print(error)\n"
        "print(list(folder.iterdir()))\n"
        "folder.rmdir()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment(), timeout=60)
    lines = done.stdout.splitlines()
    assert "a.json: File too large" in lines[0], done
    assert lines[1] == "[]"


def test_a_process_killed_while_it_writes_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, pathlib\n"
        "from perfsuite.exports import files\n"
        "def dies(*a): os.kill(os.getpid(), signal.SIGKILL)\n"
        "pathlib.Path.hardlink_to = dies\n"
        "files.write_atomically(pathlib.Path(sys.argv[1]) / 'a.json', b'x' * 100)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=_environment(), timeout=60)
    assert done.returncode == -9
    assert not (tmp_path / "a.json").exists()


def test_numbers_keep_the_ending() -> None:
    tried = numbered(Path("x/report-1.md"))
    assert [str(next(tried)) for _ in range(3)] == ["x/report-1.md", "x/report-1-2.md", "x/report-1-3.md"]


def _environment() -> dict[str, str]:
    import perfsuite

    return {**os.environ, "PYTHONPATH": str(Path(perfsuite.__file__).parents[1])}
