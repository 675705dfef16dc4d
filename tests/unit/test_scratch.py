"""Temporary folders: gone with the run, swept when their owner was killed, left alone while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsuite import scratch
from perfsuite.scratch import scratch_folder

PACKAGE = Path(scratch.__file__).parent
OWNER = """
import sys
from perfsuite.scratch import scratch_folder
with scratch_folder("kind") as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "chat.db").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def owner(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has such a folder, and the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_goes_with_the_block(place: Path) -> None:
    with scratch_folder("kind") as folder:
        (folder / "file").write_text("text")
        assert folder.parent == place
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_goes_at_the_next_start(
    place: Path, owner: tuple[subprocess.Popen[str], Path]
) -> None:
    process, left = owner
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (left / "deep" / "chat.db").exists()
    with scratch_folder("other"):
        assert left.exists()
    with scratch_folder("kind") as folder:
        assert list(place.iterdir()) == [folder]


def test_so_does_what_a_killed_reference_system_left(place: Path) -> None:
    code = (
        "import asyncio, sys; from perfsuite.reference.system import ChatSystem\nsystem = ChatSystem()\n"
        "asyncio.run(system.open()); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (left,) = place.iterdir()
        process.kill()
    assert list(left.iterdir())
    with scratch_folder("reference") as folder:
        assert list(place.iterdir()) == [folder]


def test_one_of_a_place_is_swept_there(place: Path) -> None:
    other = place / "disk"
    left = other / "perfsuite-kind.left"
    left.mkdir(parents=True)
    with scratch_folder("kind", other) as folder:
        assert list(other.iterdir()) == [folder]


def test_every_temporary_folder_of_the_package_is_one_that_is_swept() -> None:
    own = re.compile(r"tempfile\.(TemporaryDirectory|mkdtemp\((?!prefix=f?\"[^\"]*\", dir=folder))|NamedTemporaryFile")
    meant_to_stay = {"scratch.py", "cli/saving.py"}
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if own.search(path.read_text())}
    assert found == meant_to_stay


def test_what_a_running_process_has_stays(place: Path, owner: tuple[subprocess.Popen[str], Path]) -> None:
    """The negative control; its own as well: two in one process, and one that it forks off, are left alone."""
    _, kept = owner
    with scratch_folder("kind") as first, scratch_folder("kind") as second:
        assert {kept, first, second} == set(place.iterdir())
    assert list(place.iterdir()) == [kept]
    assert (kept / "deep" / "chat.db").exists()


def test_what_is_not_such_a_folder_of_this_user_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = place / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (place / "perfsuite-kind.link").symlink_to(outside)
    (place / "perfsuite-kind.file").write_text("mine")
    with scratch_folder("kind"):
        pass
    assert (outside / "file").exists()
    assert (place / "perfsuite-kind.file").exists()
    foreign = place / "perfsuite-kind.foreign"
    foreign.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with scratch_folder("kind"):
        pass
    assert foreign.exists()


def test_one_that_a_sweep_was_quicker_to_take_is_made_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, taken = scratch._locked, []

    def swept_first(folder: Path) -> int:
        if not taken:
            taken.append(folder)
            folder.rmdir()
        return real(folder)

    monkeypatch.setattr(scratch, "_locked", swept_first)
    with scratch_folder("kind") as folder:
        assert taken != [folder]
        assert folder.is_dir()


def test_without_locks_there_is_a_folder_all_the_same(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(folder: Path) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(scratch, "_locked", none)
    with scratch_folder("kind") as folder:
        assert folder.is_dir()
    assert list(place.iterdir()) == []
