"""Opens a file of JSON that a user brings, or says what it is instead."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from perfsuite.errors import UsageError

PROBE = 1 << 16
_MARK = b"\xef\xbb\xbf"
_NO_JSON = (
    (b"\x1f\x8b", "gzip", "gunzip it first"),
    (b"\x28\xb5\x2f\xfd", "zstandard", "unzstd it first"),
    (b"PK\x03\x04", "zip", "unzip it first"),
    (b"\xff\xfe", "UTF-16", "convert it to UTF-8"),
    (b"\xfe\xff", "UTF-16", "convert it to UTF-8"),
)


def open_json(path: Path, what: str, forms: str) -> BinaryIO:
    """The file, after its byte order mark.  ``what`` it should hold (a plural), and in which ``forms``, for messages.

    Raises UsageError for what cannot be read, is no plain file, is empty, packed or no text.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file of {what}")
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise UsageError(f"{path} is no plain file; save the {what} in one")
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        head = stream.read(PROBE)
        _check(path, head, forms)
        stream.seek(len(_MARK) if head.startswith(_MARK) else 0)
    except OSError as error:
        stream.close()
        raise UsageError(f"cannot read {path}: {error.strerror or error}; it must be a plain file") from error
    except UsageError:
        stream.close()
        raise
    return stream


def _check(path: Path, head: bytes, forms: str) -> None:
    if not head.strip(_MARK + b" \t\r\n"):
        raise UsageError(f"{path} is empty; it must hold {forms}")
    for magic, what, cure in _NO_JSON:
        if head.startswith(magic):
            raise UsageError(f"{path} is {what}; {cure}")
    zero = head.find(b"\0")
    if zero >= 0:
        raise UsageError(f"{path} is not text: a NUL byte at offset {zero:,}; it must be JSON in UTF-8")
