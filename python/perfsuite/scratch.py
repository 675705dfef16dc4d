"""Folders for what is gone with the run; those of a killed run are taken away by the next one that needs such a folder.

Its owner holds a lock on the folder itself, which the kernel lets go of however that process ends: nothing has to be
written down, and no process id can come to mean another process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def scratch_folder(kind: str, place: Path | None = None) -> Iterator[Path]:
    """An empty folder in ``place`` [the one for temporary files], gone afterwards as far as that can be done; ``kind``
    says in its name what it is for.  Takes those of that kind away first whose owner has ended.  Raises OSError."""
    prefix = f"perfsuite-{kind}."
    place = Path(tempfile.gettempdir()) if place is None else place
    _sweep(place, prefix)
    folder, held = _made(place, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _made(place: Path, prefix: str) -> tuple[Path, int | None]:
    """A new folder and the lock on it; None where the file system has no locks: no sweep finds it free there either."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        try:
            held = _locked(folder)
        except BlockingIOError:
            continue  # a sweep has just found it, and takes it away
        except FileNotFoundError:
            continue  # … and has done so
        except OSError:
            return folder, None
        if folder.is_dir():
            return folder, held
        os.close(held)


def _locked(folder: Path) -> int:
    """An open file with the lock; BlockingIOError when another process has it."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(number)
        raise
    return number


def _sweep(place: Path, prefix: str) -> None:
    """Takes away this user's folders of that name that nobody holds."""
    for folder in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            number = _locked(folder)
            try:
                if os.fstat(number).st_uid == os.geteuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(number)
