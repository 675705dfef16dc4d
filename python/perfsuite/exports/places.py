"""Whether files can go where they are to go: looked at before an hour is spent on what would be in them."""

from __future__ import annotations

from pathlib import Path

from perfsuite.errors import PerfsuiteError, UsageError

TRIED_BYTES = 1 << 16
"""A disk that takes so many has room for a partial file."""


def make_folder(folder: Path, flag: str = "--output") -> Path:
    """The folder, made with those above it where it is not there.

    ``flag`` is what names it, for texts; empty where nothing does.  Raises UsageError when it or a folder above it is a
    file, PerfsuiteError when it cannot be made.
    """
    name = f"{flag} {folder}".lstrip()
    try:
        for part in (folder, *folder.parents):
            if part.exists() and not part.is_dir():
                raise UsageError(f"{name}: {part} is a file; name a folder")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unusable(name, error) from error
    return folder


def writable_folder(folder: Path, flag: str = "--output") -> Path:
    """``make_folder``, and a file written in it for a moment.  PerfsuiteError also when it takes none."""
    import tempfile

    make_folder(folder, flag)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(TRIED_BYTES))
            file.flush()
    except OSError as error:
        raise _unusable(f"{flag} {folder}", error) from error
    return folder


def check_file(path: Path | None, flag: str, example: str) -> None:
    """UsageError where ``path`` is a folder or in none; ``example``: a name that it might have.  None is no mistake."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{flag} {path}: is a directory; name a file in it, such as {path / example}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.parent}; make it, or name another")


def _unusable(name: str, error: OSError | ValueError) -> PerfsuiteError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return PerfsuiteError(f"{name}: cannot write there: {reason}; free it, or name another folder")
