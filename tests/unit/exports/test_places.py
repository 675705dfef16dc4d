"""Folders and files are found unusable before anything is measured, in words that name the flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.exports.places import check_file, make_folder, writable_folder


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    assert writable_folder(tmp_path / "a") == tmp_path / "a"
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "b"], "what was tried there is gone"


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_is_no_folder_and_has_none_in_it(below: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for check in (make_folder, writable_folder):
        with pytest.raises(UsageError, match=r"^--output .*taken is a file; name a folder$"):
            check(tmp_path / "taken" / below)


@pytest.mark.parametrize("name", ["x" * 300, "nul\0"])
def test_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(PerfsuiteError, match="cannot write there") as caught:
        make_folder(tmp_path / name, flag="")
    assert caught.value.exit_code == 1
    assert not str(caught.value).startswith(" ")


def test_a_disk_without_room_is_found_by_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    make_folder(tmp_path)
    with pytest.raises(PerfsuiteError, match=r"--output .*: No space left on device; free it"):
        writable_folder(tmp_path)


def test_a_file_needs_a_folder_and_a_name_of_its_own(tmp_path: Path) -> None:
    check_file(None, "--raw", "rows.csv")
    check_file(tmp_path / "rows.csv", "--raw", "rows.csv")
    with pytest.raises(UsageError, match=r"--raw .*: is a directory; name a file in it, such as .*/rows\.csv"):
        check_file(tmp_path, "--raw", "rows.csv")
    with pytest.raises(UsageError, match=r"there is no folder .*missing; make it"):
        check_file(tmp_path / "missing" / "rows.csv", "--raw", "rows.csv")
