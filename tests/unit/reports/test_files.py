"""Files appear whole or not at all, and nothing is overwritten."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import results_made
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.reports import FileSet, write
from perfsuite.reports.files import numbered, write_atomically
from perfsuite.result import load
from privileges import UNBOUND, WHY


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
        "from perfsuite.reports.files import write_atomically\n"
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
        "from perfsuite.reports import files\n"
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


def test_a_run_leaves_three_files_of_one_time(tmp_path: Path) -> None:
    result = results_made.full()
    files = FileSet(tmp_path / "new" / "folder", result)
    assert names(files.folder) == ["results-20261121_101500.partial.json"]
    paths = files.write(result)
    assert names(files.folder) == [
        "metrics-20261121_101500.html",
        "report-20261121_101500.md",
        "results-20261121_101500.json",
    ]
    assert load(paths.results).verdict == "failed"
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600 for path in paths)


def test_a_result_can_be_written_without_partial_files(tmp_path: Path) -> None:
    paths = write(results_made.full(), tmp_path)
    assert names(tmp_path) == sorted(path.name for path in paths)


def test_the_partial_file_is_a_result_that_was_interrupted(tmp_path: Path) -> None:
    result = results_made.full()
    files = FileSet(tmp_path, results_made.empty())
    assert load(files.partial).phases == []
    files.write_partial(result)
    assert load(files.partial).verdict == "interrupted"
    assert json.loads(files.partial.read_bytes())["phases"][0]["verdict"] == "failed"
    assert names(tmp_path) == ["results-20261121_101500.partial.json"]


def test_runs_of_one_second_share_no_name(tmp_path: Path) -> None:
    result = results_made.full()
    first, second = FileSet(tmp_path, result), FileSet(tmp_path, result)
    third = first.write(result)
    fourth = FileSet(tmp_path, result).write(result)
    fifth = second.write(result)
    assert [p.results.name for p in (third, fifth, fourth)] == [
        "results-20261121_101500.json",
        "results-20261121_101500-2.json",
        "results-20261121_101500-3.json",
    ]
    assert [p.metrics.name for p in (third, fifth, fourth)] == [
        "metrics-20261121_101500.html",
        "metrics-20261121_101500-2.html",
        "metrics-20261121_101500-3.html",
    ]
    assert len(names(tmp_path)) == 9


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="is a file or lies in one"):
            FileSet(folder, results_made.empty())


@pytest.mark.skipif(UNBOUND, reason=WHY)
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PerfsuiteError, match="Permission denied"):
        FileSet(tmp_path, results_made.empty())


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(PerfsuiteError, match="/proc"):
        FileSet(Path("/proc/perfsuite"), results_made.empty())


def _environment() -> dict[str, str]:
    import perfsuite

    return {**os.environ, "PYTHONPATH": str(Path(perfsuite.__file__).parents[1])}
