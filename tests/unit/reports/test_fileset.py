"""The files of a run: of one time, none lost, none overwritten."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

import results_made
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.reports import FileSet, write
from perfsuite.result import load
from privileges import UNBOUND, WHY


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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
        with pytest.raises(UsageError, match="is a file; name a folder"):
            FileSet(folder, results_made.empty())


@pytest.mark.skipif(UNBOUND, reason=WHY)
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PerfsuiteError, match="Permission denied"):
        FileSet(tmp_path, results_made.empty())


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(PerfsuiteError, match="/proc"):
        FileSet(Path("/proc/perfsuite"), results_made.empty())
