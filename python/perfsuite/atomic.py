"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer

    AnyPath = str | os.PathLike[str]


def write_new(path: AnyPath, data: Buffer, mode: int = 0o644) -> os.stat_result:
    """Makes a file that nobody else has or sees half of, and returns once ``data`` is on the disk, with its status.

    Raises FileExistsError when something, a link too, is there; a file that could not be written is taken away again.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            left = memoryview(data).cast("B")
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
            return os.fstat(handle)
        finally:
            os.close(handle)
    except BaseException:
        discard(path)
        raise


def replace(path: AnyPath, data: Buffer, temporary: AnyPath, mode: int = 0o644) -> os.stat_result:
    """Puts ``data`` in the place of ``path`` by way of ``temporary``, a free name in the same folder, which is gone
    afterwards whatever happens; returns the new file's status."""
    status = write_new(temporary, data, mode)
    try:
        os.rename(temporary, path)
    except BaseException:
        discard(temporary)
        raise
    sync_folder(os.path.dirname(path))
    return status


def discard(path: AnyPath) -> None:
    """Takes a file away, as far as that can be done."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def sync_folder(folder: AnyPath) -> None:
    """Makes new names last through a power cut; some file systems cannot, which is no reason to fail."""
    with contextlib.suppress(OSError):
        handle = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_regular(path: AnyPath, largest: int) -> bytes:
    """A result's file.  Raises UsageError that says what is wrong with the path: no regular file, unreadable, or of
    more bytes than ``largest``."""
    import stat

    from perfsuite.errors import UsageError

    try:
        # Not blocking: a FIFO in place of the file must give a message, not a hang.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise UsageError(f"{path} is a directory: name a results-….json file in it")
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"{path} is not a regular file")
            if status.st_size > largest:
                raise UsageError(f"{path} has {status.st_size:,} bytes: larger than any perfsuite result")
            return file.read(largest + 1)
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a directory: name a results-….json file in it") from error
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot read {str(path)!r}: {text}") from error
