"""Files written whole (``perfsuite.atomic``), under names that nothing is ever lost to."""

from __future__ import annotations

import errno
import itertools
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from perfsuite import atomic
from perfsuite.errors import PerfsuiteError

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def write_atomically(path: Path, data: bytes, *, replace: bool = False) -> Path:
    """Writes ``data`` to ``path``, or, where that exists and ``replace`` is False, to the first free ``NAME-2.EXT``,
    ``NAME-3.EXT``, …; returns the path written.

    The file appears under its name complete and on the disk, or it does not appear: the bytes go to a temporary file
    beside it first, which is gone afterwards whatever happens.  Raises PerfsuiteError naming the file when the folder
    is missing, full, read-only or no folder.
    """
    return write_first_free([path] if replace else numbered(path), data, replace=replace)


def write_first_free(paths: Iterable[Path], data: bytes, *, replace: bool = False) -> Path:
    """``write_atomically`` to the first of ``paths`` (all in one folder) that does not exist; returns it."""
    candidates = iter(paths)
    path = next(candidates)
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        if replace:
            atomic.replace(path, data, temporary)
            return path
        atomic.write_new(temporary, data)
        try:
            return _link_free(temporary, itertools.chain([path], candidates))
        finally:
            atomic.discard(temporary)
            atomic.sync_folder(path.parent)
    except OSError as error:
        raise PerfsuiteError(
            f"cannot write {path}: {error.strerror or error}; free the disk or choose another folder with --output"
        ) from error


def numbered(path: Path) -> Iterator[Path]:
    """``path`` and then ``NAME-2.EXT``, ``NAME-3.EXT``, …: the names to try in turn."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _link_free(temporary: Path, candidates: Iterator[Path]) -> Path:
    """A hard link, unlike a rename, fails when the name is taken: two runs that end together cannot lose one.

    Where the file system has no hard links the name is reserved by an empty file for the moment of the rename.
    """
    links = True
    for candidate in candidates:
        try:
            if links:
                try:
                    candidate.hardlink_to(temporary)
                    return candidate
                except OSError as error:
                    if error.errno not in _NO_HARD_LINKS:
                        raise
                    links = False
            os.close(os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
            return temporary.replace(candidate)
        except FileExistsError:
            continue
    raise FileExistsError(errno.EEXIST, "every name is taken")
